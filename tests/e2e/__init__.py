"""The real cluster, our images, Helm, and a real vLLM on the CPU."""

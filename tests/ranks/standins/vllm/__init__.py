"""Acts like vLLM for the tuner's question where vLLM looks for autotune files."""

"""A real Kubernetes, S3 and vLLM for tests, made from package registries alone."""

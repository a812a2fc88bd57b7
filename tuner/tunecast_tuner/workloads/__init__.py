"""The workloads that an attempt can run to fill the engine's caches."""

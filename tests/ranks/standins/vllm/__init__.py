"""Acts like vLLM as far as the tuner asks it where it looks for autotune files."""

"""What an engine's command line says."""

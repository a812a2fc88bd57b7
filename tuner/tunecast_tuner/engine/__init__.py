"""The engine as a child process, and what it is asked."""

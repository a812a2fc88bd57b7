"""The engine as a child process, and the requests that it receives."""

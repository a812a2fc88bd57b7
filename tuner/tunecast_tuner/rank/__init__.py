"""One rank: its settings, the course and the end of its attempt, and its uploads."""

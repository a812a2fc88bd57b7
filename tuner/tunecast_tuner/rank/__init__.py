"""One rank: what it is told, how its attempt goes and ends, and what it uploads."""

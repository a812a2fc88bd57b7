"""Communication between the ranks of one attempt."""

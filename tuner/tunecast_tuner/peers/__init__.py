"""The ranks of one attempt, between each other."""

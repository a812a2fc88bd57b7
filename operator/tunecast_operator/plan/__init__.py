"""Decisions: pure functions of the observed state and the time."""

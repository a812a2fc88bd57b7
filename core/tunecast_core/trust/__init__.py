"""Whose signatures count, and what is never staged."""

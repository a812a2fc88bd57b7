"""Reads the command line of an engine."""

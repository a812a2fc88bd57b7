"""Evaluates the log, the files and the answers of an engine start."""

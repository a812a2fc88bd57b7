"""Adopted pods: pods of any owner that ask for warm starts with a label."""

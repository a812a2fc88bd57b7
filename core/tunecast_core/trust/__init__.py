"""Trusted signatures, and the detection of secrets that must never be staged."""

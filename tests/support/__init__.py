"""Builders of objects that several tests begin with."""

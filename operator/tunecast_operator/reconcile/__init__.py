"""The two reconcilers: they observe, let a plan decide, and apply it."""

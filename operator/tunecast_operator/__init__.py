"""The operator: two level-triggered reconcilers, each ``observe -> plan (pure) -> apply``."""

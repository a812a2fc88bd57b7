"""Pure builders: one module per child, each takes a spec and returns the object."""

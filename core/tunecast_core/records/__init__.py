"""The records that pass between operator, ranks and init containers, and how they are read."""

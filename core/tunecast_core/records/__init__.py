"""The records that the operator, ranks and init containers exchange, and their codec."""

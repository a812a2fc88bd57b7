"""FlashInfer's operators at a model's shapes: the table of operators, and the process that runs them."""

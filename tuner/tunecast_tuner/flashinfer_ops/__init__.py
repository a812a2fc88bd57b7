"""FlashInfer's operators at a model's shapes: which there are, and the process that runs them."""

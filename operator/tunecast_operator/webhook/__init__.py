"""The webhook: gives adopted pods, as they are created, what a replica of an InferenceDeployment gets."""

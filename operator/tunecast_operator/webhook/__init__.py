"""The webhook injects into adopted pods, when they are created, what replicas of an InferenceDeployment have."""

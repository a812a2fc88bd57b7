"""What runs: watching, queues, controllers, metrics, and the edges to Kubernetes and S3."""

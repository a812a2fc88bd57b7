"""The running operator: watches, queues, controllers, metrics, and the edges to Kubernetes and S3."""

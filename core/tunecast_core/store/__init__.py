"""Access to the bucket: requests, retries, presigned URLs, and the meaning of errors."""

"""All that is done in the bucket, and the way to it."""

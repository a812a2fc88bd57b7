"""What an attempt runs to fill the caches."""

"""Settings and identity of the plant, kept for everyone."""

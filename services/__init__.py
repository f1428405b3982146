"""One folder = one process = one actor. No service imports another."""

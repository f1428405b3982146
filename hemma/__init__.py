"""The `hemma` command: starts, checks, shows, simulates and measures the house."""

"""A simulated house that speaks the real protocols, and imports nothing of the controller's."""

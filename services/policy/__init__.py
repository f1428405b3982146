"""The decision: who may draw or feed how much, now, and why."""

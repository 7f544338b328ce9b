"""Delivery of a result: look at its frames before it gets its final name."""

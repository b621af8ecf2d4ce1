"""Consuming a queue: deliveries, their outcomes, and what cannot be processed now."""

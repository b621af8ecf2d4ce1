"""Scheduling: back-off, the timer, and the interface of a part."""

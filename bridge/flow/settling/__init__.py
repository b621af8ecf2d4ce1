"""Closing a task in SWF: once, one reply of it at a time, and told to the other instances."""

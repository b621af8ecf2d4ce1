"""Attacks from outside on a running daemon, measured by what a good worker beside them sees."""

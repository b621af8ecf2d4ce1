"""The commands to a running daemon, over its control socket: one module each, and their own."""

"""The control socket, and the commands that it serves."""

"""The control socket, and the daemon's side of the commands that it serves."""

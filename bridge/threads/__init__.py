"""How the daemon's threads run: parts, their signals and timer, back-off, and sockets to serve."""

"""How the daemon does: health, diagnosis, and the page and metrics over HTTP."""

"""The state of the daemon: health checks, diagnosis, and the page and metrics over HTTP."""

"""Logs, metrics, Sentry and sd_notify of the daemon, with secrets removed."""

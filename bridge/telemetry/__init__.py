"""What the daemon tells of itself: logs, Sentry, metrics, systemd; nothing secret passes."""

"""Checks of AWS and RabbitMQ before the daemon runs, for `check --connect` and `topology`."""

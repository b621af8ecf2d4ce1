"""``swf-bridge run``: run the daemon."""

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "run",
        help="carry tasks and replies until asked to stop",
        description="Carry tasks from SWF to RabbitMQ and replies back until SIGTERM or SIGINT;"
        " a second signal leaves at once.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the daemon and return its exit code."""
    from bridge.settings.settings import Settings  # noqa: PLC0415 — slow to load

    settings = Settings.load()
    from bridge import daemon  # noqa: PLC0415 — slowest, so settings are checked first

    return daemon.run(settings)

"""``swf-bridge run``: the daemon."""

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
    """Run the daemon; its exit code is that of the process."""
    from bridge.settings.settings import Settings  # noqa: PLC0415 — slow to load

    settings = Settings.load()
    from bridge import daemon  # noqa: PLC0415 — slower still: wrong settings need not wait for it

    return daemon.run(settings)

"""``swf-bridge drain``: stop the daemon and wait until its process has ended."""

import argparse
import os
from typing import Any

from bridge.cli import client
from bridge.cli.text import complain, say, say_json, seconds


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "drain",
        help="stop the daemon, and wait until it has handed everything on",
        description="Ask the running daemon to stop, as SIGTERM does, and wait until its process"
        " has ended: no new poll begins, open ones end within a minute, what they bring is"
        " published. systemd does not start it again. Exits 0 when everything was handed on; 69"
        " if no daemon answers; 70 if tasks wait in the journal for the next start, polls were cut,"
        " a part failed, or it drains on after --timeout. Interrupted, it drains on.",
    )
    parser.add_argument(
        "--timeout", metavar="SPAN", type=seconds, help="wait so long at most: 90s, 10m, 2h"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    client.add_options(parser)
    parser.set_defaults(run=client.command(run))


def run(args: argparse.Namespace) -> int:
    """Drain the daemon; return 70 if it failed, cut polls or leaves tasks in the journal."""
    try:
        told = client.result(args, "drain", seconds=args.timeout)
    except client.Gone:
        raise client.Failed(os.EX_SOFTWARE, "it ended without saying how: see its log") from None
    if args.json:
        say_json(told)
    elif told["failed"]:
        complain("it has ended, but a part failed: see its log")
    elif told["polls"] or told["owed"]:
        complain(
            f"it has ended: {told['polls']} polls were cut, and {told['owed']} tasks wait in the"
            " journal for RabbitMQ until the next start"
        )
    else:
        say(f"it has ended: everything is handed on, {told['inHand']} tasks are with workers")
    return os.EX_SOFTWARE if told["failed"] or told["polls"] or told["owed"] else 0

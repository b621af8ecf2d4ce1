"""``swf-bridge resume``: poll paused task lists again."""

import argparse
from typing import Any

from bridge.cli import client
from bridge.cli.running.pause import add_lists, exit_code, name, named
from bridge.cli.text import complain, say, say_json


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "resume",
        help="have task lists polled again",
        description="Have the running daemon poll these task lists again, which were paused.",
    )
    add_lists(parser)
    parser.set_defaults(run=client.command(run), usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Resume task lists."""
    told = client.result(args, "resume", **named(args))
    if args.json:
        say_json(told)
    else:
        for each in told["lists"]:
            say(f"{name(each)} is resumed")
    for each in told["unchanged"]:
        complain(f"{each} is not paused")
    return exit_code(told)

"""``swf-bridge pause``: stop polling some task lists; everything else goes on."""

import argparse
import os
from typing import Any

from bridge.cli import client
from bridge.cli.text import Row, complain, interval, say, say_json, span


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "pause",
        help="let no new poll of task lists begin",
        description="Have the running daemon begin no new poll of these task lists. Polls that are"
        " open end by themselves within a minute, and may still bring a task each. What is in hand"
        " goes on, and answers too. A pause holds over restarts, until SPAN is over or the lists"
        " are resumed. It is of one daemon: others that poll the same lists go on.",
    )
    add_lists(parser)
    parser.add_argument(
        "--for", dest="seconds", metavar="SPAN", type=interval,
        help="resume by itself after so long: 90s, 10m, 2h, 1d",
    )  # fmt: skip
    parser.add_argument("--reason", metavar="TEXT", help="shown wherever the pause is")
    parser.set_defaults(run=client.command(run), usage_error=parser.error)


def add_lists(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``pause`` and ``resume`` share."""
    parser.add_argument("lists", metavar="LIST", nargs="*", help="a task list, or DOMAIN/LIST")
    parser.add_argument("--all", action="store_true", help="every list")
    parser.add_argument("--json", action="store_true", help="print JSON")
    client.add_options(parser)


def named(args: argparse.Namespace) -> dict[str, object]:
    """The request's fields. Exit with the usage unless the options say which lists."""
    if bool(args.lists) == args.all:
        args.usage_error("name task lists, or say --all")
    return {"lists": args.lists, "all": args.all}


def run(args: argparse.Namespace) -> int:
    """Pause task lists."""
    told = client.result(args, "pause", **named(args), seconds=args.seconds, reason=args.reason)
    if args.json:
        say_json(told)
    else:
        for each in told["lists"]:
            say(f"{name(each)} is paused{_until(each)}{_open(each['openPolls'])}")
    for each in told["unchanged"]:
        complain(f"{each} is paused already")
    return exit_code(told)


def name(row: Row) -> str:
    """The task list as ``DOMAIN/LIST``."""
    return f"{row['domain']}/{row['taskList']}"


def exit_code(told: Row) -> int:
    """Return 70 if a list was unchanged or the journal has not stored it; report the latter."""
    if not told["kept"]:
        complain("the journal cannot be written: this does not hold over a restart yet")
    return 0 if told["kept"] and not told["unchanged"] else os.EX_SOFTWARE


def _until(row: Row) -> str:
    return " until it is resumed" if row["left"] is None else f" for {span(row['left'])}"


def _open(polls: int) -> str:
    if not polls:
        return ""
    return f"; {polls} open poll{'s end' if polls > 1 else ' ends'} within a minute"

"""``swf-bridge status``: how a running daemon stands."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from bridge.cli import client
from bridge.cli.text import Column, Row, print_table, printable, seconds, since, size, span

WATCH = 2.0
ERRORS_SHOWN = 8
_CLEAR = "\x1b[H\x1b[2J"


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "status",
        help="how the running daemon stands",
        description="Show what is connected, each task list and why it is not polled, what is owed,"
        " held and dead, and the last errors.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--watch", metavar="SECONDS", type=seconds, nargs="?", const=WATCH,
        help="show it again and again (default: every 2 s)",
    )  # fmt: skip
    client.add_options(parser)
    parser.set_defaults(run=client.command(run))


def run(args: argparse.Namespace) -> int:
    """Print the status, once or until interrupted."""
    before: Row | None = None
    while True:
        now = client.result(args, "status")
        if args.json:
            print(json.dumps(now, indent=None if args.watch else 2), flush=True)
        else:
            _show(now, before, clear=bool(args.watch) and sys.stdout.isatty())
        if args.watch is None:
            return 0
        before = now
        time.sleep(max(0.2, args.watch))


def _show(status: Row, before: Row | None, *, clear: bool) -> None:
    if clear:
        print(_CLEAR, end="")
    for line in _head(status):
        print(printable(line))
    print()
    print_table(status["lists"], _columns(status, before))
    for row in status["lists"]:
        if row["notPolled"]:
            print(printable(f"  {row['domain']}/{row['taskList']}: {row['notPolled']}"))
    for line in _tail(status):
        print(printable(line))
    sys.stdout.flush()


def _head(status: Row) -> Iterator[str]:
    up = since(status["now"], status["startedAt"])
    yield f"swf-bridge {status['version']}, {status['state']}, up {up}, pid {status['pid']}"
    wrong = [f"✗ {n}: {c['detail']}" for n, c in status["checks"].items() if not c["ok"]]
    yield from wrong or ["✓ all is well"]
    links = (f"{each['name']} {_link(each)}" for each in status["broker"])
    yield f"RabbitMQ  {', '.join(links)}"
    journal = status["journal"]
    writable = "" if journal["writable"] else ", CANNOT BE WRITTEN"
    yield (
        f"journal   {journal['tasks']} tasks, {journal['owed']} owed to RabbitMQ,"
        f" {size(journal['size'])}{writable}"
    )


def _link(connection: Row) -> str:
    if connection["connected"]:
        return "connected"
    if connection["blocked"]:
        return "blocked by RabbitMQ"
    return f"away for {span(connection['awayFor'])}"


def _columns(status: Row, before: Row | None) -> tuple[Column, ...]:
    now = status["now"]
    rate: tuple[Column, ...] = ()
    if before is not None:
        rate = (("TASKS/S", lambda row: _rate(row, status, before)),)
    return (
        ("TASK LIST", lambda row: f"{row['domain']}/{row['taskList']}"),
        ("POLLERS", lambda row: f"{row['pollerStates'].get('polling', 0)}/{row['pollers']}"),
        ("IN FLIGHT", lambda row: f"{row['inFlight']}/{row['slots']}"),
        ("OWED", lambda row: str(row["owed"])),
        ("OLDEST", lambda row: since(now, row["oldest"])),
        ("LAST POLL", lambda row: since(now, row["lastPoll"])),
        ("POLLED", lambda row: str(row["polled"])),
        *rate,
    )


def _rate(row: Row, status: Row, before: Row) -> str:
    earlier = [
        each["polled"]
        for each in before["lists"]
        if (each["domain"], each["taskList"]) == (row["domain"], row["taskList"])
    ]
    passed = status["now"] - before["now"]
    if not earlier or passed <= 0 or row["polled"] < earlier[0]:
        return "-"
    return f"{(row['polled'] - earlier[0]) / passed:.1f}"


def _tail(status: Row) -> Iterator[str]:
    yield ""
    for each in status["unroutable"]:
        yield f"{each['reason']}, for {span(each['seconds'])}"
    outcomes = status["replies"]["outcomes"]
    counted = ", ".join(f"{name} {times}" for name, times in outcomes.items() if times)
    yield f"replies   {status['replies']['held']} held; since start: {counted or 'none'}"
    codes = ", ".join(f"{code} {n}" for code, n in status["deadLetters"]["codes"].items() if n)
    yield f"dead      {codes or 'none'} since start"
    if status["lastErrors"]:
        yield "last errors"
    for each in status["lastErrors"][:ERRORS_SHOWN]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each["at"]))
        fields = " ".join(f"{name}={value}" for name, value in each["fields"].items())
        yield f"  {at}  {each['level']:<8}  {each['event']}  {fields}"

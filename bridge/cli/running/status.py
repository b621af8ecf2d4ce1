"""``swf-bridge status``: print the state of a running daemon."""

import argparse
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from bridge.cli import client
from bridge.cli.running.blocks import blocks_of_hours
from bridge.cli.text import (
    Column,
    Row,
    complain,
    interval,
    printable,
    say_json,
    since,
    size,
    span,
    table,
)
from bridge.status.diagnosis.diagnosis import by_trouble, findings
from bridge.status.diagnosis.documents import more_about

WATCH = 2.0  # seconds
ERRORS_SHOWN = 8
DAY = 86_400  # seconds
_HOME, _REST, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
"""Terminal escapes: move to the first line, clear the rest of a line, clear all lines below."""
_COLOURS = {"✗": "\x1b[1;31m", "!": "\x1b[1;33m", "✓": "\x1b[1;32m"}


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "status",
        help="how the running daemon stands",
        description="Show the connections, each task list and why it is not polled, tasks that"
        " RabbitMQ has not confirmed, replies that SWF has not taken, dead letters, and the last"
        " errors. Exits 70 if something is wrong, 69 if no daemon answers.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--watch", metavar="SECONDS", type=interval, nargs="?", const=WATCH,
        help="show it again and again (default: every 2 s), also while no daemon answers",
    )  # fmt: skip
    client.add_options(parser)
    parser.set_defaults(run=client.command(run))


def run(args: argparse.Namespace) -> int:
    """Print the status once, or with ``--watch`` again and again until interrupted."""
    screen = Screen(watched=args.watch is not None)
    if args.watch is None:
        now = client.result(args, "status")
        _print(args, screen, now, None)
        return os.EX_SOFTWARE if any(each.grave for each in findings(now)) else 0
    before: Row | None = None
    while True:
        try:
            now = client.result(args, "status")
        except client.Failed as error:
            before = None
            if args.json:
                complain(error)
            else:
                screen.show([f"✗ {error}", f"  tried again every {args.watch:g} s"])
        else:
            _print(args, screen, now, before)
            before = now
        time.sleep(args.watch)


def _print(args: argparse.Namespace, screen: "Screen", now: Row, before: Row | None) -> None:
    if args.json:
        found = [asdict(each) for each in findings(now)]
        say_json({**now, "findings": found}, indent=None if args.watch else 2)
    else:
        hours = [] if args.watch is None else blocks_of_hours(now, screen.width)
        screen.show([*_head(now), *_lists(now, before, screen.width), *hours, *_tail(now)])


class Screen:
    """Writes to standard output: lines are wrapped to a terminal's width, and whole in a pipe.

    With ``--watch`` on a terminal, each status overwrites the last and is cut at the lower edge.
    """

    def __init__(self, *, watched: bool) -> None:
        self._terminal = sys.stdout.isatty()
        self._in_place = self._terminal and watched
        self._colours = self._terminal and not os.environ.get("NO_COLOR")
        self.width: int | None = None
        self._height = 0
        self._measure()

    def show(self, lines: Iterable[str]) -> None:
        """Write the lines, with control characters escaped."""
        self._measure()
        shown = [cut for line in lines for cut in self._fitted(printable(line))]
        if self._in_place:
            end = f"{_REST}\n"
            sys.stdout.write(_HOME + end.join(shown[: self._height - 1]) + end + _BELOW)
        else:
            sys.stdout.write("\n".join(shown) + "\n")
        sys.stdout.flush()

    def _measure(self) -> None:
        if self._terminal:
            self.width, self._height = shutil.get_terminal_size()

    def _fitted(self, line: str) -> list[str]:
        """Wrap the line to the terminal's width, with the further lines indented."""
        indent = " " * (len(line) - len(line.lstrip(" ")) + 2)
        lines = [line]
        if self.width is not None and len(line) > self.width:
            lines = textwrap.wrap(
                line, self.width, subsequent_indent=indent, break_on_hyphens=False
            )
        colour = _COLOURS.get(line[:1]) if self._colours else None
        return [f"{colour}{each}\x1b[0m" for each in lines] if colour else lines


def _head(status: Row) -> Iterator[str]:
    up = since(status["now"], status["startedAt"])
    where = f" on {status['host']}" if "host" in status else ""
    version = status["version"].partition("+")[0]  # a revision would wrap on a small terminal
    yield f"swf-bridge {version}{where}, {status['state']}, up {up}, pid {status['pid']}"
    found = findings(status)
    draining = status["state"] == "stopping"  # the first finding says so, with a countdown
    if not draining and not any(finding.grave for finding in found):
        yield "✓ all is well" if not found else "✓ it works, but look at this"
    for finding in found:
        yield f"{'✗' if finding.grave else '!'} {finding.title}: {finding.detail}"
        if finding.tasks:
            yield f"    tasks: {finding.tasks}"
            more = f" (more: {more_about(finding.alert)})" if finding.alert else ""
            yield f"    do: {finding.todo.replace('`', '')}{more}"
    yield ""
    links = (f"{each['name']} {_link(each)}" for each in status["broker"])
    yield f"RabbitMQ  {', '.join(links)}"
    journal = status["journal"]
    writable = "" if journal["writable"] else ", CANNOT BE WRITTEN"
    yield (
        f"journal   {journal['tasks']} tasks, {journal['owed']} owed to RabbitMQ,"
        f" {size(journal['size'])}{writable}"
    )
    outcomes = status["replies"]["outcomes"]
    counted = ", ".join(f"{name} {times}" for name, times in outcomes.items() if times)
    yield f"replies   {status['replies']['held']} held; since start: {counted or 'none'}"
    yield f"dead      {_dead(status)}"
    yield ""


def _dead(status: Row) -> str:
    """Dead letters in the queue, and those published since the daemon started."""
    dead = status["deadLetters"]
    codes = ", ".join(f"{code} {n}" for code, n in dead["codes"].items() if n) or "none"
    if (standing := dead.get("standing")) is None:  # not counted yet, or an older daemon
        return f"? in the queue; since start: {codes}"
    age = since(status["now"], dead["asOf"])
    return f"{standing} in {dead['queue']} ({age} ago); since start: {codes}"


def _lists(status: Row, before: Row | None, width: int | None) -> Iterator[str]:
    rows = by_trouble(status["lists"])
    yield from table(rows, _columns(status, before), width)
    for row in rows:
        if row["notPolled"]:
            yield f"  {row['domain']}/{row['taskList']} is not polled: {row['notPolled']}"


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
        *_time_left(status),
        ("LAST POLL", lambda row: since(now, row["lastPoll"])),
        ("POLLED", lambda row: str(row["polled"])),
        *rate,
    )


def _time_left(status: Row) -> tuple[Column, ...]:
    """The column with the time until the next task times out in SWF, if any list has it."""
    if all(row.get("timeLeft") is None for row in status["lists"]):
        return ()
    return (("TIME LEFT", lambda row: span(row["timeLeft"] and max(0.0, row["timeLeft"]))),)


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
    if status["unroutable"]:
        yield ""
    for each in status["unroutable"]:
        ends = each.get("failsIn")
        countdown = "" if ends is None else f"; the first task is failed in SWF in {span(ends)}"
        yield f"{each['reason']}, for {span(each['seconds'])}{countdown}"
    if status["lastErrors"]:
        yield ""
        yield "last warnings and errors"
    for each in status["lastErrors"][:ERRORS_SHOWN]:
        today = status["now"] - each["at"] < DAY
        at = time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", time.localtime(each["at"]))
        fields = " ".join(f"{name}={value}" for name, value in each["fields"].items())
        ago = since(status["now"], each["at"])
        yield f"  {at}  {ago:>4} ago  {each['level']:<8}  {each['event']}  {fields}"

"""``swf-bridge dead``: the dead letters, replies that could never be accepted."""

import argparse
import json
import os
import sys
from typing import Any

from bridge.cli import client
from bridge.cli.text import Column, Row, count, print_fields, print_table, seconds, size, span

SUMMARY: tuple[Column, ...] = (
    ("N", lambda row: str(row["position"])),
    ("ID", lambda row: str(row["id"])),
    ("CODE", lambda row: str(row["code"])),
    ("AGE", lambda row: span(row["age"])),
    ("SIZE", lambda row: size(row["size"])),
    ("SEEN", lambda row: str(row["deliveries"])),
    ("TASK", lambda row: row["task"][:12] or "-"),
    ("MESSAGE ID", lambda row: row["messageId"] or row["correlationId"] or "-"),
    ("DETAIL", lambda row: str(row["detail"])),
)


def add_parser(subparsers: Any) -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser(
        "dead",
        help="the dead letters: list, show, replay, drop",
        description="Ask the running daemon about the replies that could never be accepted."
        " A letter's id is made of what it says, and stays; its first six digits are enough. Its"
        " age is from when its worker says that it was sent. To look at letters is to have them"
        " delivered and put back: RabbitMQ counts that (SEEN), up to a million.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    listed = commands.add_parser("list", help="list them, in the order of the queue")
    _add_filters(listed)
    listed.add_argument("--limit", metavar="N", type=count, default=100, help="default 100")
    listed.add_argument("--payload", action="store_true", help="with body and headers (--json)")
    listed.add_argument("--json", action="store_true", help="print JSON lines")
    shown = commands.add_parser("show", help="show one")
    shown.add_argument("id", metavar="ID", help="id, or place in the list")
    shown.add_argument("--payload", action="store_true", help="with body and headers")
    shown.add_argument("--json", action="store_true", help="print JSON")
    replayed = commands.add_parser(
        "replay",
        help="send letters to the reply queue again",
        description="Send every letter that is meant to the reply queue, as its worker sent it. It"
        " leaves the dead letters once RabbitMQ has confirmed it there; what is still wrong with"
        " it brings it back.",
    )
    dropped = commands.add_parser(
        "drop",
        help="throw letters away",
        description="Throw every letter that is meant away, for good. On a terminal it asks first.",
    )
    dropped.add_argument("--yes", action="store_true", help="do not ask")
    for changing in (replayed, dropped):
        _add_choice(changing)
    for command, run in ((listed, list_), (shown, show), (replayed, replay), (dropped, drop)):
        client.add_options(command)
        command.set_defaults(run=client.command(run), usage_error=command.error)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--code", metavar="CODE", help="with this swf-bridge-error")
    parser.add_argument(
        "--older-than", metavar="SPAN", type=seconds,
        help="sent before: 90s, 10m, 2h, 1d; never one that does not say when",
    )  # fmt: skip


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*")
    _add_filters(parser)
    parser.add_argument("--all", action="store_true", help="every letter")
    parser.add_argument("--limit", metavar="N", type=count, help="the first N of them")
    parser.add_argument("--dry-run", action="store_true", help="only count them")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _filters(args: argparse.Namespace) -> dict[str, object]:
    return {"code": args.code, "older_than": args.older_than, "limit": args.limit}


def _choice(args: argparse.Namespace) -> dict[str, object]:
    """The letters that a command is to change; it ends with the usage where none is named."""
    if not (args.ids or args.code or args.older_than is not None or args.all):
        args.usage_error("name letters by ID or by filters, or say --all")
    ids = [each.lower() for each in args.ids]
    return {**_filters(args), "ids": ids, "all": args.all, "dry_run": args.dry_run}


def list_(args: argparse.Namespace) -> int:
    """Print letters."""
    if args.payload and not args.json:
        args.usage_error("--payload wants --json here; dead show prints one letter")
    *answers, last = client.ask(args, "dead list", **_filters(args), payload=args.payload)
    rows = [each["row"] for each in answers]
    if args.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print_table(rows, SUMMARY)
    told = last["result"]
    if told["seen"] < told["letters"]:
        unseen = told["letters"] - told["seen"]
        print(f"{unseen} of {told['letters']} not looked at", file=sys.stderr)
    return 0


def show(args: argparse.Namespace) -> int:
    """Print one letter."""
    letter = client.result(args, "dead show", id=args.id.lower(), payload=args.payload)
    if args.json:
        print(json.dumps(letter, indent=2))
        return 0
    headers = letter.get("headers")
    body = letter.get("body", letter.get("bodyBase64"))
    print_fields(
        [
            ("letter", letter["id"]),
            ("place", letter["position"]),
            ("code", letter["code"]),
            ("detail", letter["detail"]),
            ("age", span(letter["age"])),
            ("task", letter["task"] or None),
            ("message id", letter["messageId"]),
            ("correlation id", letter["correlationId"]),
            ("deliveries", f"{letter['deliveries']} before this one, of 1000000"),
            ("headers", ", ".join(letter["headerNames"]) if headers is None else None),
            *((f"header {name}", value) for name, value in (headers or {}).items()),
            ("size", size(letter["size"])),
            ("body (base64)" if "bodyBase64" in letter else "body", body),
        ]
    )
    return 0


def replay(args: argparse.Namespace) -> int:
    """Send letters to the reply queue again."""
    told = client.result(args, "dead replay", **_choice(args))
    if args.json:
        print(json.dumps(told))
    elif args.dry_run:
        print(f"{told['matched']} of {told['letters']} would be replayed")
    else:
        print(f"{told.get('confirmed', 0)} of {told['matched']} replayed")
        for reason, times in told["reasons"].items():
            print(f"  {times} × {reason}")
    untaken = told["matched"] - told.get("confirmed", 0)
    return _exit_code(told) or (os.EX_SOFTWARE if untaken and not args.dry_run else 0)


def drop(args: argparse.Namespace) -> int:
    """Throw letters away."""
    choice = _choice(args)
    if not (args.yes or args.dry_run) and sys.stdin.isatty() and sys.stderr.isatty():
        meant = client.result(args, "dead drop", **(choice | {"dry_run": True}))
        print(f"Throw {meant['matched']} of {meant['letters']} letters away? [y/N] ", end="",
              file=sys.stderr, flush=True)  # fmt: skip
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return os.EX_SOFTWARE
    told = client.result(args, "dead drop", **choice)
    if args.json:
        print(json.dumps(told))
    else:
        verb = "would be dropped" if args.dry_run else "dropped"
        print(f"{told['matched']} of {told['letters']} {verb}")
    return _exit_code(told)


def _exit_code(told: Row) -> int:
    """70, in a sentence, where a letter that was named is not there."""
    for each in told["missing"]:
        print(f"swf-bridge: no dead letter {each}", file=sys.stderr)
    return os.EX_SOFTWARE if told["missing"] else 0

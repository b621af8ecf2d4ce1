"""``swf-bridge dead``: list, show, replay and drop dead letters (replies never accepted)."""

import argparse
import os
from typing import Any

from bridge.cli import client
from bridge.cli.running.selection import add_changing, add_listing, changed
from bridge.cli.text import (
    Column,
    Row,
    complain,
    confirmed,
    moment,
    note,
    print_fields,
    print_rows,
    say,
    say_json,
    seconds,
    size,
    span,
)

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
    """Add the command and its subcommands."""
    parser = subparsers.add_parser(
        "dead",
        help="the dead letters: list, show, replay, drop",
        description="Ask the running daemon about the replies that could never be accepted."
        " The id of a dead letter is made of its content and stays; its first six digits are"
        " enough. Its age counts from the timestamp that the worker set, else from when it"
        " was put into the queue. Each command here has RabbitMQ deliver the dead letters and"
        " requeue them; RabbitMQ counts that (SEEN) and drops a message after a million.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    listed = commands.add_parser("list", help="list them, in the order of the queue")
    _add_filters(listed)
    add_listing(listed)
    listed.add_argument("--payload", action="store_true", help="with body and headers (--json)")
    shown = commands.add_parser("show", help="show one")
    shown.add_argument("id", metavar="ID", help="id, or place in the list")
    shown.add_argument("--payload", action="store_true", help="with body and headers")
    shown.add_argument("--json", action="store_true", help="print JSON")
    replayed = commands.add_parser(
        "replay",
        help="publish them to the reply queue again",
        description="Publish each selected dead letter to the reply queue, as its worker sent it."
        " It leaves the dead-letter queue once RabbitMQ has confirmed it. Its bytes are the same:"
        " one whose fault stands in them comes back.",
    )
    dropped = commands.add_parser(
        "drop",
        help="delete them",
        description="Delete each selected dead letter for good. On a terminal it asks first.",
    )
    dropped.add_argument("--yes", action="store_true", help="do not ask")
    for changing in (replayed, dropped):
        _add_filters(changing)
        add_changing(changing, every="every dead letter", first="the first N of them")
    for command, run in ((listed, list_), (shown, show), (replayed, replay), (dropped, drop)):
        client.add_options(command)
        command.set_defaults(run=client.command(run), usage_error=command.error)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--code", metavar="CODE", help="with this swf-bridge-error")
    parser.add_argument(
        "--older-than", metavar="SPAN", type=seconds,
        help="sent before, or put into the queue: 90s, 10m, 2h, 1d",
    )  # fmt: skip


def _filters(args: argparse.Namespace) -> dict[str, object]:
    return {"code": args.code, "older_than": args.older_than, "limit": args.limit}


def _changed(args: argparse.Namespace) -> dict[str, object]:
    return changed(args, _filters(args), "dead letters")


def list_(args: argparse.Namespace) -> int:
    """Print dead letters."""
    if args.payload and not args.json:
        args.usage_error("--payload wants --json here; dead show prints one")
    *answers, last = client.ask(args, "dead list", **_filters(args), payload=args.payload)
    rows = [each["row"] for each in answers]
    print_rows(rows, SUMMARY, as_json=args.json)
    told = last["result"]
    if told["seen"] < told["letters"]:
        unseen = told["letters"] - told["seen"]
        note(f"{unseen} of {told['letters']} not read")
    _note_not_back(told)
    return 0


def show(args: argparse.Namespace) -> int:
    """Print one dead letter."""
    found = client.result(args, "dead show", id=args.id.lower(), payload=args.payload)
    _note_not_back(found)
    if args.json:
        say_json(found, indent=2)
        return 0
    headers = found.get("headers")
    body = found.get("body", found.get("bodyBase64"))
    print_fields(
        [
            ("dead letter", found["id"]),
            ("place", found["position"]),
            ("code", found["code"]),
            ("detail", found["detail"]),
            ("age", span(found["age"])),
            ("put there", moment(found.get("putAt"))),
            ("task", found["task"] or None),
            ("message id", found["messageId"]),
            ("correlation id", found["correlationId"]),
            ("deliveries", f"{found['deliveries']} before this one, of 1000000"),
            ("headers", ", ".join(found["headerNames"]) if headers is None else None),
            *((f"header {name}", value) for name, value in (headers or {}).items()),
            ("size", size(found["size"])),
            ("body (base64)" if "bodyBase64" in found else "body", body),
        ]
    )
    return 0


def replay(args: argparse.Namespace) -> int:
    """Publish dead letters to the reply queue again."""
    told = client.result(args, "dead replay", **_changed(args))
    _note_not_back(told)
    if args.json:
        say_json(told)
    elif args.dry_run:
        say(f"{told['matched']} of {told['letters']} would be replayed")
    else:
        say(f"{told.get('confirmed', 0)} of {told['matched']} replayed")
        for reason, times in told["reasons"].items():
            say(f"  {times} × {reason}")
    untaken = told["matched"] - told.get("confirmed", 0)
    return _exit_code(told) or (os.EX_SOFTWARE if untaken and not args.dry_run else 0)


def drop(args: argparse.Namespace) -> int:
    """Delete dead letters; ask first on a terminal, unless none matches."""
    request = _changed(args)
    told = client.result(args, "dead drop", **(request | {"dry_run": True}))
    if not args.dry_run and (count := told["matched"]):
        question = f"Delete {count} of {told['letters']} dead letters for good?"
        if not (args.yes or confirmed(question)):
            return os.EX_SOFTWARE
        # Drop no more than the question named: more dead letters may have arrived since.
        told = client.result(args, "dead drop", **(request | {"limit": count}))
    _note_not_back(told)
    if args.json:
        say_json(told)
    else:
        verb = "would be dropped" if args.dry_run else "dropped"
        say(f"{told['matched']} of {told['letters']} {verb}")
    return _exit_code(told)


def _note_not_back(told: Row) -> None:
    """Say that RabbitMQ has not put all of them back yet: another command would see fewer."""
    if count := told.get("notBack"):
        note(f"{count} are not back in the queue yet; RabbitMQ is putting them there")


def _exit_code(told: Row) -> int:
    """Print a line for each id that no dead letter has; return 70 if there is one, else 0."""
    for each in told["missing"]:
        complain(f"no dead letter {each}")
    return os.EX_SOFTWARE if told["missing"] else 0

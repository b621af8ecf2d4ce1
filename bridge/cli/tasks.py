"""``swf-bridge tasks``: the tasks in hand of a running daemon."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from bridge.cli import client
from bridge.cli.text import Column, Row, count, print_fields, print_table, seconds, span

SUMMARY: tuple[Column, ...] = (
    ("ID", lambda row: str(row["id"])),
    ("AGE", lambda row: span(row["age"])),
    ("STATE", lambda row: str(row["state"])),
    ("TASK LIST", lambda row: f"{row['domain']}/{row['taskList']}"),
    ("ACTIVITY TYPE", lambda row: f"{row['name']}@{row['version']}"),
    ("WORKFLOW ID", lambda row: str(row["workflowId"])),
    ("ACTIVITY ID", lambda row: str(row["activityId"])),
)


def add_parser(subparsers: Any) -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser(
        "tasks",
        help="the tasks in hand: list, show, publish again, fail",
        description="Ask the running daemon about the tasks that SWF gave it and that are not"
        " answered yet. An id may be shortened to its beginning.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    listed = commands.add_parser("list", help="list them, the oldest first")
    _add_filters(listed)
    listed.add_argument("--limit", metavar="N", type=count, default=100, help="default 100")
    listed.add_argument("--json", action="store_true", help="print JSON lines")
    shown = commands.add_parser("show", help="show one")
    shown.add_argument("id", metavar="ID")
    shown.add_argument("--payload", action="store_true", help="with its token and input")
    shown.add_argument("--json", action="store_true", help="print JSON")
    again = commands.add_parser(
        "republish",
        help="publish again what is not answered",
        description="Publish every unanswered task that is meant again, under the same message_id:"
        " for when a worker's queue was deleted or purged. A worker that still has one meets it"
        " twice, and SWF takes one result. Exits 70 where RabbitMQ did not take them all.",
    )
    _add_choice(again)
    failed = commands.add_parser(
        "fail",
        help="fail tasks in SWF",
        description="Fail every task that is meant in SWF, and let it go. Exits 70 where one is"
        " still open.",
    )
    _add_choice(failed)
    failed.add_argument(
        "--reason", metavar="TEXT", help="for the workflow history, at most 256 characters"
    )
    runs = ((listed, list_), (shown, show), (again, republish), (failed, fail))
    for command, run in runs:
        client.add_options(command)
        command.set_defaults(run=client.command(run), usage_error=command.error)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--list", metavar="[DOMAIN/]NAME", help="of this task list")
    parser.add_argument("--domain", metavar="NAME", help="of this domain")
    parser.add_argument("--type", metavar="NAME[@VERSION]", help="of this activity type")
    parser.add_argument(
        "--older-than", metavar="SPAN", type=seconds, help="polled before: 90s, 10m, 2h, 1d"
    )
    parser.add_argument(
        "--state", choices=("waiting", "published"),
        help="waiting for RabbitMQ's confirm, or published",
    )  # fmt: skip


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*")
    _add_filters(parser)
    parser.add_argument("--all", action="store_true", help="every task in hand")
    parser.add_argument("--limit", metavar="N", type=count, help="the oldest N of them")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be done")
    parser.add_argument("--json", action="store_true", help="print JSON lines")


def _filters(args: argparse.Namespace) -> dict[str, object]:
    return {
        "list": args.list,
        "domain": args.domain,
        "type": args.type,
        "older_than": args.older_than,
        "state": args.state,
        "limit": args.limit,
    }


def _choice(args: argparse.Namespace) -> dict[str, object]:
    """The tasks that a command is to change; it ends with the usage where none is named."""
    filters = _filters(args)
    given = [value for name, value in filters.items() if name != "limit" and value is not None]
    if not (args.ids or given or args.all):
        args.usage_error("name tasks by ID or by filters, or say --all")
    return {**filters, "ids": args.ids, "all": args.all, "dry_run": args.dry_run}


def list_(args: argparse.Namespace) -> int:
    """Print tasks."""
    *rows, last = client.ask(args, "tasks list", **_filters(args))
    _print_rows([each["row"] for each in rows], as_json=args.json)
    if (left := last["result"]["matched"] - len(rows)) > 0:
        print(f"{left} more: --limit shows them", file=sys.stderr)
    return 0


def _print_rows(rows: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(json.dumps(row))
    else:
        print_table(rows, SUMMARY)


def show(args: argparse.Namespace) -> int:
    """Print one task."""
    task = client.result(args, "tasks show", id=args.id, payload=args.payload)
    if args.json:
        print(json.dumps(task, indent=2))
        return 0
    length = task["inputLength"]
    print_fields(
        [
            ("task", task["id"]),
            ("state", task["state"] + (", a worker has spoken" if task["firstWord"] else "")),
            ("age", span(task["age"])),
            ("task list", f"{task['domain']}/{task['taskList']}"),
            ("activity type", f"{task['name']}@{task['version']}"),
            ("activity id", task["activityId"]),
            ("workflow id", task["workflowId"]),
            ("run id", task["runId"]),
            ("started event", task["startedEventId"]),
            ("routing key", task["routingKey"]),
            ("cancel", "requested, its worker was told" if task["cancelNoticed"] else None),
            ("token", task.get("taskToken")),
            ("input", task.get("input", None if length is None else f"{length} characters")),
        ]
    )
    return 0


def republish(args: argparse.Namespace) -> int:
    """Publish tasks again."""
    *rows, last = client.ask(args, "tasks republish", **_choice(args))
    told = last["result"]
    if args.dry_run:
        return _preview(rows, told, "published again", as_json=args.json)
    if args.json:
        print(json.dumps(told))
    else:
        print(f"{told['confirmed']} of {told['matched']} published again")
        for name, text in (
            ("unroutable", "have no queue"),
            ("refused", "refused by RabbitMQ"),
            ("nacked", "not taken by a full or failing queue"),
            ("waiting", "left alone: not confirmed yet, the daemon tries by itself"),
            ("answered", "answered meanwhile"),
        ):
            if told[name]:
                print(f"{told[name]} {text}")
        for reason, times in told["reasons"].items():
            print(f"  {times} × {reason}")
    untaken = told["unroutable"] + told["refused"] + told["nacked"]
    return os.EX_SOFTWARE if untaken else 0


def fail(args: argparse.Namespace) -> int:
    """Fail tasks in SWF."""
    told: Row = {}
    rows: list[Row] = []
    for answer in client.ask(args, "tasks fail", **_choice(args), reason=args.reason):
        if "result" in answer:
            told = answer["result"]
        elif args.dry_run:
            rows.append(answer)
        else:
            _print_outcome(answer["row"], as_json=args.json)
    if args.dry_run:
        return _preview(rows, told, "failed", as_json=args.json)
    if args.json:
        print(json.dumps(told))
    else:
        gone = told["matched"] - told["failed"] - told["unavailable"] - told["left"]
        left = told["unavailable"] + told["left"]
        print(f"{told['failed']} of {told['matched']} failed, {gone} closed before, {left} left")
    if told["unavailable"]:
        return os.EX_UNAVAILABLE
    return os.EX_SOFTWARE if told["left"] else 0


def _print_outcome(row: Row, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(row))
    else:
        print_fields([(row["id"], " ".join(filter(None, (row["outcome"], row["detail"]))))])


def _preview(rows: Sequence[Row], told: Row, verb: str, *, as_json: bool) -> int:
    _print_rows([each["row"] for each in rows], as_json=as_json)
    if not as_json:
        print(f"{told['matched']} would be {verb}")
    return 0

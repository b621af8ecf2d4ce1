"""``swf-bridge tasks``: list, show, republish and fail the unanswered tasks of a daemon."""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from bridge.cli import client
from bridge.cli.running.selection import add_changing, add_listing, changed
from bridge.cli.text import (
    Column,
    Row,
    confirmed,
    note,
    print_fields,
    print_rows,
    say,
    say_json,
    seconds,
    span,
)

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
    """Add the command and its subcommands."""
    parser = subparsers.add_parser(
        "tasks",
        help="the tasks in hand: list, show, publish again, fail",
        description="Ask the running daemon about the tasks that SWF gave it and that are not"
        " answered yet. An id may be shortened to its beginning.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    listed = commands.add_parser("list", help="list them, the oldest first")
    _add_filters(listed)
    add_listing(listed)
    shown = commands.add_parser("show", help="show one")
    shown.add_argument("id", metavar="ID")
    shown.add_argument("--payload", action="store_true", help="with its token and input")
    shown.add_argument("--json", action="store_true", help="print JSON")
    again = commands.add_parser(
        "republish",
        help="publish again what is not answered",
        description="Publish each selected task that is not answered again, under the same"
        " message_id: after a worker's queue was deleted or purged. A worker that still has it"
        " receives it twice; SWF takes one result. Exits 70 if RabbitMQ did not take them all.",
    )
    failed = commands.add_parser(
        "fail",
        help="fail tasks in SWF",
        description="Fail each selected task in SWF and remove it from the journal. On a terminal"
        " it asks first, unless every task is named by its ID. Exits 69 if SWF could not be told of"
        " one, 70 if one is left for another reason, or if the answer was no.",
    )
    for changing in (again, failed):
        _add_filters(changing)
        add_changing(changing, every="every task in hand", first="the oldest N of them")
    failed.add_argument("--yes", action="store_true", help="do not ask")
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


def _filters(args: argparse.Namespace) -> dict[str, object]:
    return {
        "list": args.list,
        "domain": args.domain,
        "type": args.type,
        "older_than": args.older_than,
        "state": args.state,
        "limit": args.limit,
    }


def _changed(args: argparse.Namespace) -> dict[str, object]:
    return changed(args, _filters(args), "tasks")


def list_(args: argparse.Namespace) -> int:
    """Print tasks."""
    *rows, last = client.ask(args, "tasks list", **_filters(args))
    print_rows((each["row"] for each in rows), SUMMARY, as_json=args.json)
    if (left := last["result"]["matched"] - len(rows)) > 0:
        note(f"{left} more: --limit shows them")
    return 0


def show(args: argparse.Namespace) -> int:
    """Print one task."""
    task = client.result(args, "tasks show", id=args.id, payload=args.payload)
    if args.json:
        say_json(task, indent=2)
        return 0
    length = task["inputLength"]
    print_fields(
        [
            ("task", task["id"]),
            (
                "state",
                task["state"] + (", a worker has sent a heartbeat" if task["firstWord"] else ""),
            ),
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
    """Publish tasks again; return 70 if RabbitMQ did not take all of them."""
    *rows, last = client.ask(args, "tasks republish", **_changed(args))
    told = last["result"]
    if args.dry_run:
        return _preview(rows, told, "published again", as_json=args.json)
    if args.json:
        say_json(told)
    else:
        say(f"{told['confirmed']} of {told['matched']} published again")
        for name, text in (
            ("unroutable", "have no queue"),
            ("refused", "refused by RabbitMQ"),
            ("nacked", "not taken by a full or failing queue"),
            ("expired", "left alone: SWF has given them up, or is about to"),
            ("waiting", "left alone: not confirmed yet, the daemon tries by itself"),
            ("answered", "answered meanwhile"),
        ):
            if told[name]:
                say(f"{told[name]} {text}")
        for reason, times in told["reasons"].items():
            say(f"  {times} × {reason}")
    untaken = told["unroutable"] + told["refused"] + told["nacked"]
    return os.EX_SOFTWARE if untaken else 0


def fail(args: argparse.Namespace) -> int:
    """Fail tasks in SWF; return 69 if SWF was unavailable, 70 if a task is left or refused."""
    told: Row = {}
    rows: list[Row] = []
    request = {**_changed(args), "reason": args.reason}
    if not (args.yes or args.dry_run or (args.ids and not args.all)):
        *_, last = client.ask(args, "tasks fail", **(request | {"dry_run": True}))
        count = last["result"]["matched"]
        if count and not confirmed(f"Fail {count} {'task' if count == 1 else 'tasks'} in SWF?"):
            return os.EX_SOFTWARE
        # By the daemon's clock: tasks may come while the question waits, and while the answer is
        # on its way.
        request["newest"] = last["result"]["newest"]
    for answer in client.ask(args, "tasks fail", **request):
        if "result" in answer:
            told = answer["result"]
        elif args.dry_run:
            rows.append(answer)
        else:
            _print_outcome(answer["row"], as_json=args.json)
    if args.dry_run:
        return _preview(rows, told, "failed", as_json=args.json)
    if args.json:
        say_json(told)
    else:
        gone = told["closed"] + told["answered"]
        left = told["unavailable"] + told["left"]
        counted = f"{told['failed']} of {told['matched']} failed, {gone} closed before, {left} left"
        say(counted + (f", {told['refused']} refused by SWF" if told["refused"] else ""))
    if told["unavailable"]:
        return os.EX_UNAVAILABLE
    return os.EX_SOFTWARE if told["left"] or told["refused"] else 0


def _print_outcome(row: Row, *, as_json: bool) -> None:
    if as_json:
        say_json(row)
    else:
        print_fields([(row["id"], " ".join(filter(None, (row["outcome"], row["detail"]))))])


def _preview(rows: Sequence[Row], told: Row, verb: str, *, as_json: bool) -> int:
    print_rows((each["row"] for each in rows), SUMMARY, as_json=as_json)
    if not as_json:
        say(f"{told['matched']} would be {verb}")
    return 0

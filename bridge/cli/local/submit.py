"""``swf-bridge local submit``, and how all ``local`` commands connect to the local SWF."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.bounds import decode_json
from bridge.cli.client import INTERRUPTED
from bridge.cli.local.view import SUMMARY, print_task
from bridge.cli.text import complain, count, print_rows, rewrite, say, say_json, seconds

if TYPE_CHECKING:
    from bridge.local import LocalClient

ADDRESS = "127.0.0.1:9090"
_LISTEN = "swf-bridge local run"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "submit", help="submit tasks and print their ids",
        description="Submit a task, or one for each line of a file of JSON objects (members:"
        " name, version, input, domain, taskList, workflowId, activityId, …Timeout, taskPriority,"
        " count, cancelAfter, timeOutAfter, terminateAfter). What a line leaves out comes from the"
        " options. WHEN is seconds after a worker was given the task, or beats:N, with its Nth"
        " heartbeat.",
    )  # fmt: skip
    parser.add_argument("type", metavar="NAME[@VERSION]", nargs="?", help="activity type")
    parser.add_argument("input", metavar="INPUT", nargs="?", help="input of the task; -: stdin")
    parser.add_argument("--file", metavar="FILE", help="JSON lines; -: stdin")
    parser.add_argument("--domain", metavar="NAME", default="demo", help="default demo")
    parser.add_argument("--task-list", metavar="NAME", default="demo", help="default demo")
    parser.add_argument("--workflow-id", metavar="ID", help="default: one for each task")
    parser.add_argument("--activity-id", metavar="ID")
    for name in ("schedule-to-start", "schedule-to-close", "start-to-close", "heartbeat"):
        parser.add_argument(f"--{name}", metavar="SECONDS", type=seconds, help="time-out")
    for name, what in (
        ("cancel", "request its cancellation"),
        ("time-out", "have it time out"),
        ("terminate", "terminate its workflow execution"),
    ):
        parser.add_argument(
            f"--{name}-after", metavar="WHEN", type=_when, help=f"{what} while a worker has it"
        )
    parser.add_argument("--priority", metavar="N", type=int, default=0)
    parser.add_argument("--count", metavar="N", type=count, default=1, help="so many of each")
    parser.add_argument("--wait", action="store_true", help="wait for the end and print it")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=3600.0,
        help="how long --wait waits (default an hour)",
    )  # fmt: skip
    add_endpoint(parser)
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.set_defaults(run=reaching(submit), usage_error=parser.error)


def add_endpoint(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the local SWF."""
    parser.add_argument(
        "--endpoint", metavar="URL", type=_url,
        default=os.environ.get("AWS_ENDPOINT_URL_SWF") or f"http://{ADDRESS}",
        help="of the local SWF (default: $AWS_ENDPOINT_URL_SWF, else %(default)s)",
    )  # fmt: skip


def reaching(
    ask: "Callable[[LocalClient, argparse.Namespace], int]",
) -> Callable[[argparse.Namespace], int]:
    """Wrap ``ask``: return 69 if no local SWF answers, and 70 if it refuses the request."""

    def command(args: argparse.Namespace) -> int:
        from bridge.local import ControlError, LocalClient  # noqa: PLC0415 — slow to load

        try:
            return ask(LocalClient(args.endpoint), args)
        except ControlError as error:
            complain(error)
            return os.EX_SOFTWARE
        except ConnectionError as error:
            complain(f"{error}; start one with `{_LISTEN}`")
            return os.EX_UNAVAILABLE
        except KeyboardInterrupt:
            return INTERRUPTED

    return command


def submit(swf: "LocalClient", args: argparse.Namespace) -> int:
    """Submit tasks; with ``--wait``, return 70 unless every task completed."""
    if (args.type is None) == (args.file is None):
        args.usage_error("want either an activity type or --file")
    try:
        tasks = list(_tasks(args))
    except (OSError, ValueError) as error:
        args.usage_error(str(error))
    ids = swf.submit_many(tasks)
    if not args.wait:
        for task_id in ids:
            if args.json:
                say_json({"id": task_id})
            else:
                say(task_id)
        return 0
    if not _await_closed(swf, ids, args.timeout):
        complain("not all tasks closed in time")
    ended = [swf.task(task_id, payload=True) for task_id in ids]
    if len(ended) == 1 and not args.json:
        print_task(ended[0])
    else:
        print_rows(ended, SUMMARY, as_json=args.json)
    return 0 if all(task["state"] == "completed" for task in ended) else os.EX_SOFTWARE


def _await_closed(swf: "LocalClient", ids: list[str], seconds: float) -> bool:
    """Wait for the tasks to close; on a terminal show every second how many are closed."""
    if not sys.stderr.isatty():
        return swf.wait_closed(ids, seconds)
    deadline = time.monotonic() + seconds
    while not (closed := swf.wait_closed(ids, min(1.0, max(0.0, deadline - time.monotonic())))):
        still_open = {task["id"] for task in swf.tasks(state="open")}.intersection(ids)
        rewrite(f"{len(ids) - len(still_open)} of {len(ids)} closed")
        if time.monotonic() >= deadline:
            break
    rewrite()
    return closed


def _tasks(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    common = {
        "domain": args.domain,
        "taskList": args.task_list,
        "workflowId": args.workflow_id,
        "activityId": args.activity_id,
        "scheduleToStartTimeout": args.schedule_to_start,
        "scheduleToCloseTimeout": args.schedule_to_close,
        "startToCloseTimeout": args.start_to_close,
        "heartbeatTimeout": args.heartbeat,
        "cancelAfter": args.cancel_after,
        "timeOutAfter": args.time_out_after,
        "terminateAfter": args.terminate_after,
        "taskPriority": args.priority,
        "count": args.count,
    }
    if args.file is None:
        name, _, version = args.type.partition("@")
        text = sys.stdin.read() if args.input == "-" else args.input
        yield {**common, "name": name, "version": version or "1.0", "input": text}
        return
    lines = sys.stdin if args.file == "-" else Path(args.file).read_text("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                task = decode_json(line)
            except ValueError as error:
                raise ValueError(f"{args.file}:{number}: {error}") from error
            if not isinstance(task, dict):
                raise ValueError(f"{args.file}:{number}: no JSON object")
            yield {**common, **task}


def _when(text: str) -> str:
    from bridge.local.swf.task import steps  # noqa: PLC0415 — slow to load

    try:
        steps({"cancelAfter": text})
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither seconds nor beats:N") from error
    return text


def _url(text: str) -> str:
    if not text.startswith("http://"):
        raise argparse.ArgumentTypeError(f"{text!r} is no http:// address: is it a local SWF?")
    return text

"""``swf-bridge local``: an SWF of its own for worker authors, and what can be asked of it."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.bounds import decode_json
from bridge.cli.localview import SUMMARY, print_table, print_task

if TYPE_CHECKING:
    from bridge.local import LocalClient

ADDRESS = "127.0.0.1:9090"
_LISTEN = "swf-bridge local run"


def add_parser(subparsers: Any) -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser(
        "local",
        help="an SWF of its own for worker authors",
        description="Start an SWF on this machine: the activity half of Amazon SWF, in memory,"
        " for trying workers without an AWS account. The other commands ask it.",
    )
    _add_run_options(parser)
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    started = commands.add_parser("run", help="start it (also without a command)")
    _add_run_options(started)
    started.set_defaults(run=run)
    _add_submit(commands)
    for name, ask, text in (
        ("cancel", cancel, "request the cancellation of a task, as a decider would"),
        ("terminate", terminate, "terminate the workflow execution of a task"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("id", metavar="ID")
        _add_endpoint(command)
        command.set_defaults(run=_reaching(ask))
    _add_show(commands)
    _add_list(commands)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen", metavar="HOST:PORT", type=_address, default=ADDRESS,
        help="address to listen on (default %(default)s; port 0: any; no signature is checked,"
        " so keep to loopback)",
    )  # fmt: skip
    parser.add_argument(
        "--hold", metavar="SECONDS", type=_seconds, default=60.0,
        help="how long an empty poll is held (default 60, as the service)",
    )  # fmt: skip
    parser.add_argument(
        "--domain", metavar="NAME", action="append",
        help="domain that exists from the start; may be repeated (default demo)",
    )  # fmt: skip
    parser.add_argument(
        "--any-domain", action="store_true", help="take polls of domains that nobody registered"
    )
    parser.add_argument(
        "--give-to-vanished", action="store_true",
        help="give tasks to polls whose client is gone, as the service may",
    )  # fmt: skip
    parser.add_argument(
        "--keep", metavar="N", type=_count, default=1_000_000,
        help="closed tasks to remember (default a million, some 5 kB each)",
    )  # fmt: skip
    parser.add_argument(
        "--latency", metavar="SECONDS", type=_seconds, default=0.0, help="delay every call"
    )
    parser.add_argument(
        "--with-broker", action="store_true", help="start a private RabbitMQ beside it, too"
    )
    parser.add_argument(
        "--with-bridge", action="store_true",
        help="start the bridge, too, for task list demo of the first domain, with the broker of"
        " --with-broker, else of $SWF_BRIDGE_AMQP_URL",
    )  # fmt: skip


def _add_submit(commands: Any) -> None:
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
        parser.add_argument(f"--{name}", metavar="SECONDS", type=_seconds, help="time-out")
    for name, what in (
        ("cancel", "request its cancellation"),
        ("time-out", "have it time out"),
        ("terminate", "terminate its workflow execution"),
    ):
        parser.add_argument(
            f"--{name}-after", metavar="WHEN", type=_when, help=f"{what} while a worker has it"
        )
    parser.add_argument("--priority", metavar="N", type=int, default=0)
    parser.add_argument("--count", metavar="N", type=_count, default=1, help="so many of each")
    parser.add_argument("--wait", action="store_true", help="wait for the end and print it")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=3600.0,
        help="how long --wait waits (default an hour)",
    )  # fmt: skip
    _add_endpoint(parser)
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.set_defaults(run=_reaching(submit), usage_error=parser.error)


def _add_show(commands: Any) -> None:
    parser = commands.add_parser("show", help="show what happened to a task")
    parser.add_argument("id", metavar="ID")
    parser.add_argument(
        "--payload", action="store_true", help="with token, input, result and details"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _add_endpoint(parser)
    parser.set_defaults(run=_reaching(show))


def _add_list(commands: Any) -> None:
    parser = commands.add_parser("list", help="list tasks")
    parser.add_argument(
        "--state", metavar="STATE",
        choices=("open", "closed", "scheduled", "started", "completed", "failed", "canceled",
                 "timed-out", "terminated"),
        help="open, closed, scheduled, started, completed, failed, canceled, timed-out, terminated",
    )  # fmt: skip
    parser.add_argument("--type", metavar="NAME", help="only tasks of this activity")
    parser.add_argument("--task-list", metavar="NAME")
    parser.add_argument("--since", metavar="SECONDS", type=_seconds, help="at most so old")
    parser.add_argument(
        "--limit", metavar="N", type=_count, default=100, help="newest (default 100)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    _add_endpoint(parser)
    parser.set_defaults(run=_reaching(list_))


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint", metavar="URL", type=_url,
        default=os.environ.get("AWS_ENDPOINT_URL_SWF") or f"http://{ADDRESS}",
        help="of the local SWF (default: $AWS_ENDPOINT_URL_SWF, else %(default)s)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    from bridge.cli.localserve import serve  # noqa: PLC0415 — slow to load

    host, _, port = args.listen.rpartition(":")
    return serve(
        host.strip("[]"),
        int(port),
        domains=tuple(args.domain or ("demo",)),
        hold=args.hold,
        any_domain=args.any_domain,
        give_to_vanished=args.give_to_vanished,
        keep=args.keep,
        latency=args.latency,
        with_broker=args.with_broker,
        with_bridge=args.with_bridge,
    )


def _reaching(
    ask: "Callable[[LocalClient, argparse.Namespace], int]",
) -> Callable[[argparse.Namespace], int]:
    """Return a command that exits 69 where no local SWF answers, and 70 where it says no."""

    def command(args: argparse.Namespace) -> int:
        from bridge.local import ControlError, LocalClient  # noqa: PLC0415 — slow to load

        try:
            return ask(LocalClient(args.endpoint), args)
        except ControlError as error:
            print(f"swf-bridge: {error}", file=sys.stderr)
            return os.EX_SOFTWARE
        except ConnectionError as error:
            print(f"swf-bridge: {error}; start one with `{_LISTEN}`", file=sys.stderr)
            return os.EX_UNAVAILABLE
        except KeyboardInterrupt:
            return 130

    return command


def submit(swf: "LocalClient", args: argparse.Namespace) -> int:
    """Submit; with --wait, 70 where a task did not complete."""
    if (args.type is None) == (args.file is None):
        args.usage_error("want either an activity type or --file")
    try:
        tasks = list(_tasks(args))
    except (OSError, ValueError) as error:
        args.usage_error(str(error))
    ids = swf.submit_many(tasks)
    if not args.wait:
        for task_id in ids:
            print(json.dumps({"id": task_id}) if args.json else task_id)
        return 0
    if not _await_closed(swf, ids, args.timeout):
        print("swf-bridge: not all tasks closed in time", file=sys.stderr)
    ended = [swf.task(task_id, payload=True) for task_id in ids]
    if args.json:
        print(*map(json.dumps, ended), sep="\n")
    elif len(ended) == 1:
        print_task(ended[0])
    else:
        print_table(ended, SUMMARY)
    return 0 if all(task["state"] == "completed" for task in ended) else os.EX_SOFTWARE


def _await_closed(swf: "LocalClient", ids: list[str], seconds: float) -> bool:
    """Wait for the tasks; on a terminal tell every second how many are closed."""
    if not sys.stderr.isatty():
        return swf.wait_closed(ids, seconds)
    deadline = time.monotonic() + seconds
    while not (closed := swf.wait_closed(ids, min(1.0, max(0.0, deadline - time.monotonic())))):
        still_open = {task["id"] for task in swf.tasks(state="open")}.intersection(ids)
        print(f"\r{len(ids) - len(still_open)} of {len(ids)} closed", end="", file=sys.stderr)
        if time.monotonic() >= deadline:
            break
    print("\r\x1b[K", end="", file=sys.stderr)
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


def cancel(swf: "LocalClient", args: argparse.Namespace) -> int:
    """Request a cancellation."""
    swf.cancel(args.id)
    return 0


def terminate(swf: "LocalClient", args: argparse.Namespace) -> int:
    """Terminate an execution."""
    swf.terminate(args.id)
    return 0


def show(swf: "LocalClient", args: argparse.Namespace) -> int:
    """Print one task."""
    task = swf.task(args.id, payload=args.payload)
    if args.json:
        print(json.dumps(task, indent=2))
    else:
        print_task(task)
    return 0


def list_(swf: "LocalClient", args: argparse.Namespace) -> int:
    """Print tasks, oldest first."""
    tasks = swf.tasks(
        state=args.state,
        name=args.type,
        task_list=args.task_list,
        since=None if args.since is None else time.time() - args.since,
        limit=args.limit,
    )
    if args.json:
        for task in tasks:
            print(json.dumps(task))
    else:
        print_table(tasks, SUMMARY)
    return 0


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdigit() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e8:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _when(text: str) -> str:
    from bridge.local.script import steps  # noqa: PLC0415 — slow to load

    try:
        steps({"cancelAfter": text})
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither seconds nor beats:N") from error
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def _url(text: str) -> str:
    if not text.startswith("http://"):
        raise argparse.ArgumentTypeError(f"{text!r} is no http:// address: is it a local SWF?")
    return text

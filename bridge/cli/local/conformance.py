"""``swf-bridge conformance``: check a worker against the contract."""

import argparse
import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.cli.text import complain, say, say_json

if TYPE_CHECKING:
    from bridge.conformance.report import Finding
    from bridge.conformance.trial import Plan, Role


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "conformance",
        help="try a worker against the contract",
        description="Try one worker against the contract, with the bridge and an SWF of its own:"
        " a mark for each check, and for each that fails what was expected, what came, and where"
        " it stands. Without --broker a private RabbitMQ is started. Exit 70 where a check fails.",
    )
    parser.add_argument(
        "--worker", metavar="COMMAND",
        help="start this worker, one process of it; it finds AMQP_URL, REPLY_QUEUE and, with"
        " --queue, QUEUE in its environment, and is ended and started again by some of the checks",
    )  # fmt: skip
    parser.add_argument(
        "--broker", metavar="URL",
        help="use this RabbitMQ, in a vhost where no bridge runs; needed without --worker",
    )  # fmt: skip
    parser.add_argument(
        "--queue", metavar="NAME", help="declare and bind this queue, for a worker that does not"
    )
    for name, what in (
        ("echo", "gives back its input (default Text.echo@1.0)"),
        ("fail", 'fails (default Order.check@1.0={"order": 7, "amount": -5})'),
        ("slow", 'takes 4 to 6 s and beats (default Video.encode@2.0={"steps": 20})'),
    ):
        none = "" if name == "echo" else "; none: it has no such activity"
        parser.add_argument(
            f"--{name}", metavar="NAME@VERSION[=INPUT]", help=f"the activity that {what}{none}"
        )
    parser.add_argument(
        "--own-results", action="store_true",
        help="the activity of --echo completes with a result of its own, and not with its input",
    )  # fmt: skip
    parser.add_argument(
        "--heartbeat", metavar="SECONDS", type=float, help="time-out of --slow (default 3)"
    )
    parser.add_argument(
        "--patience",
        metavar="SECONDS",
        type=float,
        help="for all that is not slow (default 10); four times as long for a worker that returns",
    )
    parser.add_argument("--skip", metavar="CHECK", action="append", default=[], help="leave it out")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write JUnit's XML")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each check")
    parser.set_defaults(run=run, usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Check the worker; return 70 if a check fails, 69 if no broker can be reached or started."""
    from bridge.conformance import report  # noqa: PLC0415 — slow to load
    from bridge.conformance import run as trial  # noqa: PLC0415
    from bridge.conformance.amqp import BrokerAway  # noqa: PLC0415
    from bridge.conformance.checks import CHECKS  # noqa: PLC0415
    from bridge.local.daemon import DaemonError  # noqa: PLC0415
    from bridge.local.management import NodeError  # noqa: PLC0415
    from bridge.local.rabbitmq import RabbitNode  # noqa: PLC0415

    if not (args.worker or args.broker):
        args.usage_error("want --worker COMMAND, or --broker URL with a worker that runs there")
    if unknown := set(args.skip) - {check.name for check in CHECKS}:
        args.usage_error(f"no check {', '.join(unknown)}")
    plan = _plan(args)

    tell = partial(say_finding, as_json=args.json)
    try:
        with ExitStack() as ends:
            node = None if args.broker else ends.enter_context(RabbitNode())
            findings = trial.run(
                node.url() if node else args.broker, plan, tell,
                command=args.worker, queue=args.queue, skip=args.skip,
                restart_broker=node.restart_app if node else None,
            )  # fmt: skip
    except (BrokerAway, NodeError, DaemonError) as error:
        complain(error)
        return os.EX_UNAVAILABLE
    except KeyboardInterrupt:
        return 130
    if args.junit:
        report.write_junit(args.junit, findings)
    if not args.json:
        say(report.total(findings))
    return os.EX_SOFTWARE if any(f.mark == report.FAILED for f in findings) else 0


def say_finding(finding: "Finding", *, as_json: bool) -> None:
    """Print what a check found."""
    from bridge.conformance import report  # noqa: PLC0415 — slow to load

    if as_json:
        say_json(report.as_row(finding))
        return
    for each in report.line(finding).split("\n"):
        say(each)


def _plan(args: argparse.Namespace) -> "Plan":
    from bridge.conformance.trial import Plan  # noqa: PLC0415

    given: dict[str, Any] = {"own_results": args.own_results}
    for name in ("echo", "fail", "slow"):
        text = getattr(args, name)
        if text == "none" and name != "echo":
            given[name] = None
        elif text is not None:
            given[name] = _role(args, text)
    for name in ("heartbeat", "patience"):
        if (seconds := getattr(args, name)) is not None:
            given[name] = seconds
    return Plan(**given)


def _role(args: argparse.Namespace, text: str) -> "Role":
    from bridge.conformance.trial import Role  # noqa: PLC0415

    activity, equals, task_input = text.partition("=")
    name, _, version = activity.partition("@")
    if not (name and version):
        args.usage_error(f"{text!r} is not NAME@VERSION[=INPUT]")
    return Role(name, version, task_input if equals else None)

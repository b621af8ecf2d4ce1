"""``swf-bridge local``: run an SWF for worker authors on this machine, and control it."""

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.cli.local import submit
from bridge.cli.local.submit import ADDRESS, add_endpoint, reaching
from bridge.cli.local.view import SUMMARY, print_task
from bridge.cli.text import count, print_rows, say_json, seconds

if TYPE_CHECKING:
    from bridge.local import LocalClient

RUN: dict[str, Any] = {
    "listen": ADDRESS,
    "hold": 60.0,
    "domain": None,
    "any_domain": False,
    "give_to_vanished": False,
    "keep": 1_000_000,
    "latency": 0.0,
    "with_broker": False,
    "with_bridge": False,
}
"""The options of ``run`` with their defaults. They may stand before its name too, or without it."""


def add_parser(subparsers: Any) -> None:
    """Add the command and its subcommands."""
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
    _add_run_options(started, after_the_name=True)
    started.set_defaults(run=run)
    submit.add_parser(commands)
    for name, ask, text in (
        ("cancel", cancel, "request the cancellation of a task, as a decider would"),
        ("terminate", terminate, "terminate the workflow execution of a task"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("id", metavar="ID")
        add_endpoint(command)
        command.set_defaults(run=reaching(ask))
    _add_show(commands)
    _add_list(commands)
    for name, command in commands.choices.items():
        if name != "run":
            command.set_defaults(run=_without_run_options(command))


def _without_run_options(
    command: argparse.ArgumentParser,
) -> Callable[[argparse.Namespace], int]:
    """What the command runs; an option of ``run`` before its name is a wrong command line."""
    ask: Callable[[argparse.Namespace], int] = command.get_default("run")
    foreign = {name: it for name, it in RUN.items() if command.get_default(name) is None}

    def checked(args: argparse.Namespace) -> int:
        for name, default in foreign.items():
            if getattr(args, name) != default:
                command.error(f"--{name.replace('_', '-')} is an option of swf-bridge local run")
        return ask(args)

    return checked


def _add_run_options(parser: argparse.ArgumentParser, *, after_the_name: bool = False) -> None:
    """Add the options of ``run``. Those after its name leave those before it as they are."""
    unless = dict.fromkeys(RUN, argparse.SUPPRESS) if after_the_name else RUN
    parser.add_argument(
        "--listen", metavar="HOST:PORT", type=_address, default=unless["listen"],
        help=f"address to listen on (default {ADDRESS}; port 0: any; no signature is checked,"
        " so keep to loopback)",
    )  # fmt: skip
    parser.add_argument(
        "--hold", metavar="SECONDS", type=seconds, default=unless["hold"],
        help="how long an empty poll is held (default 60, as the service)",
    )  # fmt: skip
    parser.add_argument(
        "--domain", metavar="NAME", action="append", default=unless["domain"],
        help="domain that exists from the start; may be repeated (default demo)",
    )  # fmt: skip
    parser.add_argument(
        "--any-domain",
        action="store_true",
        default=unless["any_domain"],
        help="take polls of domains that nobody registered",
    )
    parser.add_argument(
        "--give-to-vanished", action="store_true", default=unless["give_to_vanished"],
        help="give tasks to polls whose client is gone, as the service may",
    )  # fmt: skip
    parser.add_argument(
        "--keep", metavar="N", type=count, default=unless["keep"],
        help="closed tasks to remember (default a million, some 5 kB each)",
    )  # fmt: skip
    parser.add_argument(
        "--latency",
        metavar="SECONDS",
        type=seconds,
        default=unless["latency"],
        help="delay every call",
    )
    parser.add_argument(
        "--with-broker",
        action="store_true",
        default=unless["with_broker"],
        help="start a private RabbitMQ beside it, too",
    )
    parser.add_argument(
        "--with-bridge", action="store_true", default=unless["with_bridge"],
        help="start the bridge, too, for task list demo of the first domain, with the broker of"
        " --with-broker, else of $SWF_BRIDGE_AMQP_URL",
    )  # fmt: skip


def _add_show(commands: Any) -> None:
    parser = commands.add_parser("show", help="show what happened to a task")
    parser.add_argument("id", metavar="ID")
    parser.add_argument(
        "--payload", action="store_true", help="with token, input, result and details"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_endpoint(parser)
    parser.set_defaults(run=reaching(show))


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
    parser.add_argument("--since", metavar="SECONDS", type=seconds, help="at most so old")
    parser.add_argument(
        "--limit", metavar="N", type=count, default=100, help="newest (default 100)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    add_endpoint(parser)
    parser.set_defaults(run=reaching(list_))


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    from bridge.cli.local.serve import serve  # noqa: PLC0415 — slow to load

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


def cancel(swf: "LocalClient", args: argparse.Namespace) -> int:
    """Request the cancellation of a task."""
    swf.cancel(args.id)
    return 0


def terminate(swf: "LocalClient", args: argparse.Namespace) -> int:
    """Terminate the workflow execution of a task."""
    swf.terminate(args.id)
    return 0


def show(swf: "LocalClient", args: argparse.Namespace) -> int:
    """Print one task."""
    task = swf.task(args.id, payload=args.payload)
    if args.json:
        say_json(task, indent=2)
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
    print_rows(tasks, SUMMARY, as_json=args.json)
    return 0


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return text

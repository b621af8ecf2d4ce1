"""``swf-bridge topology``: print or declare the exchanges and queues the bridge needs."""

import argparse
from typing import Any

from bridge.cli.text import say_json, say_results


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "topology",
        help="print what the bridge needs in RabbitMQ, or declare it",
        description="Print RabbitMQ definitions (for rabbitmqctl import_definitions) of the"
        " exchanges and queues that the settings name, with the permissions of a user that can do"
        " no more than the bridge does. Create that user first: rabbitmqctl add_user NAME.",
    )
    parser.add_argument("--user", default="swf-bridge", help="whose permissions: %(default)s")
    parser.add_argument("--vhost", help="the vhost; by default that of SWF_BRIDGE_AMQP_URL")
    parser.add_argument(
        "--worker", metavar="USER=KEY[,KEY]", action="append", type=_worker, default=[],
        help="with the permissions of a worker, too: its queue is called as its user, and it may"
        " bind these keys of the task exchange and no others; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--apply",
        action="store_true",
        help="declare the exchanges and queues with the login of SWF_BRIDGE_AMQP_URL;"
        " users and permissions are not touched",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the definitions, or declare them; return 69 if RabbitMQ cannot be reached."""
    from bridge.preflight import broker  # noqa: PLC0415 — slow to load
    from bridge.rabbitmq.topology import Topology, definitions  # noqa: PLC0415
    from bridge.settings.settings import Settings  # noqa: PLC0415

    settings = Settings.load(lists_needed=False)
    if args.apply:
        return say_results(broker.declare(settings))
    vhost = args.vhost or broker.vhost_of(settings)
    told = definitions(
        Topology.of(settings), vhost=vhost, user=args.user, workers=dict(args.worker)
    )
    say_json(told, indent=2)
    return 0


def _worker(text: str) -> tuple[str, list[str]]:
    user, _, keys = text.partition("=")
    if not (user and all(keys.split(","))):
        raise argparse.ArgumentTypeError(f"{text!r} is not USER=KEY[,KEY]")
    return user, keys.split(",")

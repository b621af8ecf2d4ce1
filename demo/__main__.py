"""Run the demo: `python -m demo [--tasks N] [--timeout SECONDS] [--stay]`.

Exit 0 only if every task closed as it should, which SWF's own ledger says; 1 if not, 69 where
there is no RabbitMQ, 130 when interrupted. Nothing of it is left behind, however it ends.
"""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from bridge.local.keeper import Keeper
from bridge.local.management import NodeError
from bridge.local.rabbitmq import RabbitNode
from demo.cast import SWF_BRIDGE, WORKERS, Cast, NotReady
from demo.report import Progress, table
from demo.tasks import Order, plan

PACE = 20.0
"""Tasks a second; two cores do about 40 with a worker that starts five processes for a task."""

STAYING = """
Everything keeps running until Ctrl-C. From another terminal:

  {command} local submit Text.echo 'hello' --wait --endpoint {endpoint}
  {command} local submit Order.check '{{"order": 1, "amount": -5}}' --wait --endpoint {endpoint}
  {command} local list --limit 10 --endpoint {endpoint}

  the bridge    http://127.0.0.1:{http_port}/
  RabbitMQ      {amqp_url}
                {management}   (guest, guest)
"""


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP; once, so that nothing interrupts the end."""


def main() -> int:
    """Play it and return the exit code."""
    args = parse(sys.argv[1:])
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise Interrupted

    for number in signals:
        signal.signal(number, interrupt)
    try:
        return play(args)
    except Interrupted:
        print("\ndemo: interrupted; everything it started is stopped", file=sys.stderr)
        return 130
    except (NodeError, NotReady) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 69 if RabbitNode.unavailable() else 1


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make demo ARGS=…", description=__doc__)
    parser.add_argument("--tasks", type=int, default=200, metavar="N")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--stay", action="store_true", help="keep it running after the table")
    parser.add_argument("--without-daemon", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def play(args: argparse.Namespace) -> int:
    """Set the stage, run the tasks, tell how they ended."""
    begun = time.monotonic()
    workers = sum(WORKERS.values())
    print(f"demo: starting RabbitMQ, an SWF, the bridge and {workers} workers in shell", flush=True)
    with Keeper("swf-bridge-demo-") as keeper, RabbitNode() as node:
        cast = Cast(keeper, node)
        cast.start_swf()
        if not args.without_daemon:
            cast.start_daemon()
        cast.start_workers()
        print(f"demo: ready after {time.monotonic() - begun:.1f} s", flush=True)
        code = perform(cast, plan(args.tasks), args.timeout)
        if args.stay:
            with contextlib.suppress(Interrupted):
                stay(cast, node)
        if cast.daemon is not None:
            ended = cast.drain_daemon()
            print("demo: the bridge", "drained" if ended == 0 else f"did not drain: exit {ended}")
            code = code or int(ended != 0)
    return code


def perform(cast: Cast, orders: Sequence[Order], timeout: float) -> int:
    """Run the tasks and print the table; 0 if all closed as they should, else 1."""
    begun = time.monotonic()
    ids = drive(cast, orders, timeout)
    seconds = time.monotonic() - begun
    tasks = [cast.swf.task(task_id, payload=True) for task_id in ids]
    orders = orders[: len(tasks)]
    print(f"\n{table(orders, tasks)}\n")
    wrong = [
        (order, task)
        for order, task in zip(orders, tasks, strict=True)
        if not order.closed_as_it_should(task)
    ]
    if not wrong:
        print(f"demo: all {len(tasks)} tasks closed as they should, in {seconds:.1f} s")
        return 0
    print(f"demo: FAILED: {len(wrong)} of {len(tasks)} tasks did not close as they should")
    for order, task in wrong[:5]:
        print(f"  {order.name} {order.input}: {task['state']}, not {order.state}")
    print(f"  the bridge's last words:\n{cast.printed('daemon') or '    none: it does not run'}")
    return 1


def drive(cast: Cast, orders: Sequence[Order], timeout: float) -> list[str]:
    """Submit at an even pace, request the cancellations, until all is closed, time is up
    or the daemon ends.

    Returns the ids of the tasks in the order of `orders`.
    """
    progress = Progress(len(orders))
    begun = time.monotonic()
    ids: list[str] = []
    endless: set[str] = set()
    while True:
        elapsed = time.monotonic() - begun
        for order in orders[len(ids) : int(elapsed * PACE) + 1]:
            ids.append(cast.swf.submit(order.name, order.version, order.input, start_to_close=300))
            if order.to_cancel:
                endless.add(ids[-1])
        cancel_what_beats(cast, endless)
        counts = cast.swf.counts()
        closed = len(ids) == len(orders) and counts["open"] == 0
        done = closed or elapsed > timeout or cast.daemon_has_ended()
        progress.show(counts, last=done)
        if done:
            return ids
        time.sleep(0.05)


def cancel_what_beats(cast: Cast, endless: set[str]) -> None:
    """Request the cancellation of those of `endless` that have beaten, and take them out of it."""
    for task_id in sorted(endless):
        if cast.swf.task(task_id)["heartbeats"]:
            cast.swf.cancel(task_id)
            endless.remove(task_id)


def stay(cast: Cast, node: RabbitNode) -> None:
    """Say what can be done now, and wait for Ctrl-C."""
    print(
        STAYING.format(
            command=SWF_BRIDGE,
            endpoint=cast.endpoint,
            http_port=cast.http_port,
            amqp_url=node.url(),
            management=node.base,
        ),
        flush=True,
    )
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())

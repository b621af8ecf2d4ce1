"""`make cluster`: each event once, under 40 tasks a second, on three nodes of this RabbitMQ.

Prints a row for each event: the tasks closed by then, deliveries beyond the first, and the longest
time in which SWF closed no task. Exit code 0 where no task is lost and each gap is within its
bound.
"""

import argparse
import sys
import time

from .bench import Bench
from .events import EVENTS
from .nodes import Cluster


def main() -> int:
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(EVENTS), metavar="EVENT")
    parser.add_argument("--seconds", type=float, help="for how long an event lasts")
    given = parser.parse_args()
    failed = False
    with Cluster() as cluster:
        version = cluster.call("overview")["rabbitmq_version"]
        print(f"RabbitMQ {version}, three nodes\n", flush=True)
        print(
            f"{'event':18} {'lasts':>7} {'closed':>8} {'twice':>7}   longest gap, at most",
            flush=True,
        )
        with Bench(cluster) as bench:
            for name in given.only or EVENTS:
                event, lasts, bound = EVENTS[name]
                cluster.await_all()
                bench.await_progress()
                closed, twice = bench.closed(), bench.twice()
                started = time.time()
                began, ended = event(bench, given.seconds or lasts)
                bench.await_progress(90)
                gap = bench.longest_gap(began, ended)
                failed = failed or gap > bound
                row = f"{name:18} {time.time() - started:5.0f} s {bench.closed() - closed:8}"
                row += f" {bench.twice() - twice:7}   {gap:7.1f} s of {bound:.0f} s"
                print(row + ("  TOO LONG" if gap > bound else ""), flush=True)
            cluster.await_all()
            lost = bench.finish()
            print()
            print(f"{bench.closed()} tasks closed, {len(lost)} lost, {bench.twice()} twice")
    for task in lost[:10]:
        print(task)
    return 1 if failed or lost else 0


if __name__ == "__main__":
    sys.exit(main())

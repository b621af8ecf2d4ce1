"""`make faults`: a seeded schedule of faults under load; a table of all tasks at its end.

Exit code 0 where every token is accounted for, 1 where not: the seed and the history of each task
that is missing are printed then.
"""

import argparse
import random
import sys
import time

from . import broker_faults, daemon_faults, reply_faults, swf_faults  # noqa: F401 - they register
from .account import Account
from .bench import IN_FLIGHT, POLLERS, Bench
from .registry import BROKER, DAEMON, FAULTS, JOURNAL, REPLIES, Fault, every

MIXED = 0.3
"""Of all strikes, those of two faults together."""
NOT_TOGETHER = ({DAEMON, JOURNAL}, {BROKER, JOURNAL}, {BROKER, REPLIES})
"""Each wants the other's part whole: a journal is hurt by stopping the daemon, and replies that
nobody should send go over RabbitMQ.
"""


def main() -> int:
    given = _arguments()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}", flush=True)
    with Bench(seed, options=given.option) as bench:
        failure = ""
        try:
            _run(bench, given)
        except AssertionError as error:
            failure = f"{error}"
        account = bench.finish()
        _print_table(bench, account)
        _print_problems(bench, account)
        weak = [n for n, f in bench.figures.items() if min(f.in_flight) < IN_FLIGHT]
        bad = failure or account.lost or account.wrong or weak
        bad = bad or (account.owed and not bench.lossy) or account.waiting
        print(f"\n{'FAILED' if bad else 'passed'}, seed {seed}: {failure}")
        return 1 if bad else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--kills", type=int, help="this many SIGKILLs of the daemon, no other")
    parser.add_argument("--broker-kills", type=int, default=0, help="among them, of RabbitMQ")
    parser.add_argument("--only", action="append", choices=sorted(every()), metavar="FAULT")
    parser.add_argument("--option", action="append", default=[], help="of launch.py")
    return parser.parse_args()


def _run(bench: Bench, given: argparse.Namespace) -> None:
    if given.kills:
        _kill(bench, given.kills, given.broker_kills)
        return
    deadline = time.monotonic() + given.minutes * 60
    while time.monotonic() < deadline:
        chosen = _choose(bench.chance, given.only)
        began = time.monotonic()
        bench.strike(*chosen)
        names = " + ".join(fault.__name__ for fault in chosen)
        print(f"{time.monotonic() - began:6.1f} s  {names}", flush=True)


def _kill(bench: Bench, kills: int, broker_kills: int) -> None:
    """So many kills of both at random points, some of them of both at once."""
    order = ["killed"] * kills + ["broker_killed"] * broker_kills
    bench.chance.shuffle(order)
    for number, name in enumerate(order, 1):
        bench.strike(every()[name], hold=1.0)
        if number % 10 == 0:
            print(f"{number} of {len(order)} kills", flush=True)


def _choose(chance: random.Random, only: list[str] | None) -> list[Fault]:
    """One fault, or two of different kinds; the journal is not hurt by two hands at once."""
    kinds = {
        kind: [f for n, f in of.items() if not only or n in only] for kind, of in FAULTS.items()
    }
    kinds = {kind: faults for kind, faults in kinds.items() if faults}
    count = 2 if chance.random() < MIXED and len(kinds) > 1 else 1
    chosen = chance.sample(sorted(kinds), count)
    if set(chosen) in NOT_TOGETHER:
        chosen = chosen[:1]
    return [chance.choice(kinds[kind]) for kind in sorted(chosen)]


def _print_table(bench: Bench, account: Account) -> None:
    print(f"\n{'fault':34} strikes  in flight, at least  back after, at most")
    for name, figures in sorted(bench.figures.items()):
        back = f"{max(figures.back):.1f} s" if figures.back else "-"
        print(f"{name:34} {figures.strikes:7}  {min(figures.in_flight):19}  {back:>19}")
    kills = sum(death.code == -9 for death in bench.daemon.deaths)
    rows = (
        ("tasks", account.tasks, "submitted"),
        ("settled", account.settled, "closed as their worker said"),
        ("owed", len(account.owed), "in the journal, to be answered"),
        ("lost", len(account.lost), "journalled once, and now nowhere"),
        ("closed wrongly", len(account.wrong), "otherwise than their worker said"),
        ("given away, unjournalled", account.given_away, f"{kills} kills of {POLLERS} pollers"),
        ("unheard", account.unheard, "given to a poll whose answer a fault destroyed"),
        ("in a destroyed journal", account.damaged, "and not answered by a worker since"),
        ("duplicates", account.duplicates, "deliveries beyond one, without RabbitMQ's own"),
    )
    print()
    for name, count, what in rows:
        print(f"{name:26} {count:8}  {what}")


def _print_problems(bench: Bench, account: Account) -> None:
    for task in (account.lost + account.wrong)[:50]:
        print(f"\ntask {task['id']}, message {task['messageId']}:\n  SWF: {task}")
        for event in list(bench.daemon.events):
            if event.get("task") == task["messageId"]:
                print(f"  daemon: {event}")


if __name__ == "__main__":
    sys.exit(main())

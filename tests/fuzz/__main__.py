"""`make fuzz`: so many cases over all inputs of the daemon; the first that fails ends it.

Its bytes are written to a file, to be looked at and, once mended, kept in the corpus.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path

from . import corpus
from .every import INPUTS
from .growing import grow
from .process import MESSAGES, Found, Process, made, names, share

STEP = 0.5
"""Seconds that a range of cases is to take, about."""


def main() -> int:
    given = _arguments()
    chosen = given.only or names()
    if given.grow:
        for name in chosen:
            if name != MESSAGES:
                kept = grow(name, given.grow, given.first)
                print(f"{len(kept):5} new in the corpus of {name}", flush=True)
        return 0
    began = time.monotonic()
    seen: dict[str, Counter[str]] = {name: Counter() for name in chosen}
    spent: Counter[str] = Counter()
    for found in _run(list(_ranges(chosen, given.first, given.cases)), given.jobs):
        seen[found.name] += found.seen
        spent[found.name] += found.cpu  # type: ignore[assignment]
        if found.failed is not None:
            print(found.why)
            _tell_failure(found.name, found.failed)
            return 1
        if sys.stderr.isatty():
            total = sum(each.total() for each in seen.values())
            print(f"\r{total} cases", end="", file=sys.stderr, flush=True)
    for name, outcomes in seen.items():
        told = ", ".join(f"{what} {count}" for what, count in outcomes.most_common(12))
        rate = outcomes.total() / max(spent[name], 0.001)
        print(f"{outcomes.total():9} {name}, {rate:.0f} a second of CPU: {told}")
    total = sum(each.total() for each in seen.values())
    print(f"{total:9} cases in {time.monotonic() - began:.0f} s: none failed")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", action="append", choices=names(), metavar="INPUT")
    parser.add_argument("--grow", type=float, metavar="SECONDS", help="grow the corpus instead")
    return parser.parse_args()


def _ranges(chosen: list[str], first: int, cases: int) -> Iterator[tuple[str, int, int]]:
    """Of each input its share, in pieces, those of one input not one after the other."""
    whole = sum(map(share, chosen))
    left = {name: max(1, cases * share(name) // whole) for name in chosen}
    at = dict.fromkeys(chosen, first)
    while any(left.values()):
        for name in chosen:
            if count := min(left[name], max(1, int(share(name) * 200 * STEP))):
                yield name, at[name], count
                at[name] += count
                left[name] -= count


def _run(ranges: list[tuple[str, int, int]], jobs: int) -> Iterator[Found]:
    processes = [Process() for _ in range(min(jobs, len(ranges)))]
    ranges.reverse()
    try:
        busy = {process.pipe: process for process in processes}
        for process in processes:
            process.give(*ranges.pop())
        while busy:
            for pipe in wait(list(busy), timeout=1.0):
                process = busy[pipe]  # type: ignore[index]
                yield process.take()
                if ranges:
                    process.give(*ranges.pop())
                else:
                    del busy[process.pipe]
            for process in busy.values():
                process.look()
    finally:
        for process in processes:
            process.end()


def _tell_failure(name: str, number: int) -> None:
    print(f"case {number} of {name}; again: python -m tests.fuzz --only {name}"
          f" --first {number} --cases 1")  # fmt: skip
    if name != MESSAGES:
        data = made(name, number, corpus.beginning(name, INPUTS[name].seeds))
        file = Path(f"fuzz-{name}-{number}")
        file.write_bytes(data)
        print(f"its {len(data)} bytes: {file}")


if __name__ == "__main__":
    sys.exit(main())

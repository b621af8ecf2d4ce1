"""`make fuzz`: so many cases on every core; the first that fails ends it, with its number."""

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from .case import Case

STEP = 10_000


def run(numbers: range) -> tuple[Counter[str], int | None, str]:
    """What came of the cases, and the number and the traceback of the first that raised."""
    seen: Counter[str] = Counter()
    for number in numbers:
        try:
            seen[Case.of(number).run()] += 1
        except Exception:
            return seen, number, traceback.format_exc()
    return seen, None, ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    given = parser.parse_args()
    began = time.monotonic()
    last = given.first + given.cases
    steps = [range(n, min(n + STEP, last)) for n in range(given.first, last, STEP)]
    seen: Counter[str] = Counter()
    with ProcessPoolExecutor(given.jobs) as pool:
        for counts, failed, why in pool.map(run, steps):
            seen += counts
            if failed is not None:
                pool.shutdown(cancel_futures=True)
                print(
                    f"{why}\ncase {failed}; again: python -m tests.fuzz --first {failed} --cases 1"
                )
                return 1
            if sys.stderr.isatty():
                print(f"\r{seen.total()} cases", end="", file=sys.stderr, flush=True)
    for name, count in seen.most_common():
        print(f"{count:9} {name}")
    print(f"{seen.total():9} cases in {time.monotonic() - began:.0f} s: none raised")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make soak`: a long load, and what the daemon takes for it: memory, threads, descriptors, disk.

Exit code 0 where each stays within its bound after the first fifth of the time.
"""

import argparse
import statistics
import sys
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from .bench import Bench

SAMPLE = 5.0
MIB = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    rss: int
    threads: int
    descriptors: int
    journal: int

    @classmethod
    def of(cls, bench: Bench) -> "Sample":
        proc = Path(f"/proc/{bench.daemon.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        journal = [Path(f"{bench.daemon.journal}{suffix}") for suffix in ("", "-wal")]
        return cls(
            int(status["VmRSS"].split()[0]) * 1024,
            int(status["Threads"]),
            len(list((proc / "fd").iterdir())),
            sum(path.stat().st_size for path in journal if path.exists()),
        )


GROWTH = Sample(rss=16 * MIB, threads=0, descriptors=4, journal=8 * MIB)
"""How much more the last fifth may take, in the median, than the second."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with Bench(given.seed, SWF_BRIDGE_LOG_LEVEL="INFO") as bench:
        began, closed = time.monotonic(), bench.closed()
        samples = []
        while (passed := time.monotonic() - began) < given.minutes * 60:
            samples.append(Sample.of(bench))
            if len(samples) % 12 == 1:
                print(f"{passed:6.0f} s  {samples[-1]}", flush=True)
            time.sleep(SAMPLE)
        done = bench.closed() - closed
        account = bench.finish()
    flat = _print(samples)
    print(f"{done} tasks in {passed:.0f} s, {done / passed:.0f}/s; {len(account.lost)} lost")
    return 0 if flat and not account.lost + account.wrong and not account.owed else 1


def _print(samples: list[Sample]) -> bool:
    fifth = max(1, len(samples) // 5)
    early, late = _median(samples[fifth : 2 * fifth] or samples), _median(samples[-fifth:])
    flat = True
    print(f"\n{'':12} {'early':>12} {'late':>12} {'may grow by':>12}")
    for name, was, now, bound in zip(
        [f.name for f in fields(Sample)],
        astuple(early),
        astuple(late),
        astuple(GROWTH),
        strict=True,
    ):
        within = now - was <= bound
        flat = flat and within
        print(f"{name:12} {was:12} {now:12} {bound:12} {'' if within else 'NOT FLAT'}")
    return flat


def _median(samples: list[Sample]) -> Sample:
    return Sample(
        *(int(statistics.median(column)) for column in zip(*map(astuple, samples), strict=True))
    )


if __name__ == "__main__":
    sys.exit(main())

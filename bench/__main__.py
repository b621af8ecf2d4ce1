"""``python -m bench``: measure, print tables, write them and a plot to a folder."""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

from bench.measures import MEASURES, SELDOM, Row, Sizes
from bench.plot import plot
from bench.table import goals, table
from bridge.local.rabbitmq import RabbitNode

ROOT = Path(__file__).parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for."""
    args = _parsed(arguments)
    if reason := RabbitNode.unavailable():
        print(reason, file=sys.stderr)
        return 69
    (ROOT / "build").mkdir(exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Row]] = {}
    print(machine())
    with RabbitNode() as node:
        for name in args.only:
            print(f"\n{name}", file=sys.stderr)
            found[name] = []
            for row in MEASURES[name](node, Sizes(tiny=args.tiny, long=args.long)):
                found[name].append(row)
                shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in row.items())
                print("  " + "  ".join(shown), file=sys.stderr, flush=True)
                _write(args.out, found)
    print((args.out / "figures.md").read_text())
    return 0


def _write(folder: Path, found: dict[str, list[Row]]) -> None:
    (folder / "figures.json").write_text(json.dumps(found, indent=1))
    parts = [machine(), *(table(name, rows) for name, rows in found.items())]
    if found.get("sides"):
        parts.append(goals(found))
        (folder / "figures.svg").write_text(plot(found["sides"]))
    (folder / "figures.md").write_text("\n\n".join(parts) + "\n")


def machine() -> str:
    """What it ran on, and how busy that was."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} × {cpu}, {memory:.0f} GB, Linux"
        f" {platform.release()}, Python {platform.python_version()};"
        f" load {os.getloadavg()[0]:.1f}. Everything on this one machine."
    )


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--only", metavar="PART", nargs="+", choices=list(MEASURES),
        default=[name for name in MEASURES if name not in SELDOM],
        help=f"parts to measure, of: {' '.join(MEASURES)}",
    )  # fmt: skip
    parser.add_argument("--long", action="store_true", help="with 100,000 tasks in flight, too")
    parser.add_argument("--tiny", action="store_true", help="so little that figures mean nothing")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "bench", help="folder of the results"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())

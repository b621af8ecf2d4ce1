"""What the demo shows: one line while it runs, a table at its end."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from demo.tasks import Order

OUTCOMES = ("completed", "failed", "canceled")
LINE_EVERY = 2.0


class Progress:
    """One line that is rewritten on a terminal, a plain line every two seconds elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._terminal = sys.stdout.isatty()
        self._begun = time.monotonic()
        self._next = self._begun

    def show(self, counts: Mapping[str, Any], *, last: bool = False) -> None:
        """Show the ledger's counts; `last` ends the line."""
        now = time.monotonic()
        if not (last or now >= self._next):
            return
        self._next = now + (0.1 if self._terminal else LINE_EVERY)
        closed = counts["closed"]
        by_outcome = ", ".join(f"{closed.get(name, 0)} {name}" for name in OUTCOMES)
        line = (
            f"{sum(closed.values()):4} of {self._total} tasks closed ({by_outcome}),"
            f" {counts['open']} open, {now - self._begun:.1f} s"
        )
        if self._terminal:
            print(f"\r\033[K{line}", end="\n" if last else "", flush=True)
        else:
            print(line, flush=True)


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest rank: the smallest value that so large a share does not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def table(orders: Sequence[Order], tasks: Sequence[Mapping[str, Any]]) -> str:
    """A row for each type and one for all; the tasks as the ledger has them, in the same order."""
    groups: dict[str, list[tuple[Order, Mapping[str, Any]]]] = {}
    for order, task in zip(orders, tasks, strict=True):
        groups.setdefault(f"{order.name} {order.version}", []).append((order, task))
    groups["all"] = list(zip(orders, tasks, strict=True))
    head = ("type", "tasks", *OUTCOMES, "other", "as expected", "p50", "p99")
    rows = [head, *(_row(name, group) for name, group in groups.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _row(name: str, group: Sequence[tuple[Order, Mapping[str, Any]]]) -> tuple[str, ...]:
    states = [task["state"] for _, task in group]
    seconds = [
        task["closedAt"] - task["scheduledAt"] for _, task in group if task["closedAt"] is not None
    ]
    right = sum(order.closed_as_it_should(task) for order, task in group)
    others = sum(state not in OUTCOMES for state in states)
    return (
        name,
        str(len(group)),
        *(str(states.count(outcome)) for outcome in OUTCOMES),
        str(others),
        f"{right} of {len(group)}",
        *(f"{1000 * quantile(seconds, share):.0f} ms" if seconds else "-" for share in (0.5, 0.99)),
    )

"""The last hour of each task list, minute by minute; kept only in memory.

A timer samples the counters every few seconds. A minute without a sample (the machine slept) is
left out, and its counts go to the next minute.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from threading import Lock
from typing import NamedTuple

from bridge.journal.journal import Journal
from bridge.task import TaskListId
from bridge.telemetry import metrics as m
from bridge.telemetry.metrics import Distribution
from bridge.telemetry.registry import Metrics

LOOK = 5.0
"""Seconds between two samples."""
MINUTES = 60
SETTLED = (m.TASK_DURATION, m.TASKS_FAILED_BACK, m.SLOTS_RELEASED)
"""Metrics of tasks that left this instance: by a reply, failed by the bridge, otherwise closed."""


class Minute(NamedTuple):
    """One minute of a list: tasks polled and settled, and the highest age of a task in hand."""

    polled: int
    settled: int
    oldest: float
    """Seconds since its poll; 0 where no task was in hand."""


class LastHour:
    """The minutes of every list. A timer calls ``look``; any thread may call ``told``."""

    def __init__(
        self,
        metrics: Metrics,
        journal: Journal,
        lists: Iterable[TaskListId],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._journal = journal
        self._clock = clock
        self._lock = Lock()
        self._minutes: dict[TaskListId, deque[Minute]] = {
            each: deque(maxlen=MINUTES) for each in lists
        }
        self._current = int(clock() // 60)
        self._before: dict[TaskListId, tuple[int, int]] = {}
        for each in self._minutes:
            self._minutes[each].append(Minute(0, 0, 0.0))

    def look(self) -> None:
        """Add the counts since the last call to the current minute."""
        now = self._clock()
        counted, standing = self._counted(), self._journal.standing()
        with self._lock:
            begins = int(now // 60) != self._current
            self._current = int(now // 60)
            for each, minutes in self._minutes.items():
                polled, settled = counted[each]
                before = self._before.get(each, (0, 0))
                self._before[each] = counted[each]
                stands = standing.get(each)
                oldest = max(0.0, now - stands.oldest) if stands and stands.oldest else 0.0
                last = Minute(0, 0, 0.0) if begins else minutes.pop()
                minutes.append(
                    Minute(
                        last.polled + polled - before[0],
                        last.settled + settled - before[1],
                        max(last.oldest, oldest),
                    )
                )

    def told(self, of: TaskListId) -> dict[str, list[float]] | None:
        """The minutes of a list, at most MINUTES, the current one last.

        None where the list is not among the settings.
        """
        if of not in self._minutes:
            return None
        with self._lock:
            minutes = list(self._minutes[of])
        return {
            "polled": [each.polled for each in minutes],
            "settled": [each.settled for each in minutes],
            "oldest": [round(each.oldest, 1) for each in minutes],
        }

    def _counted(self) -> dict[TaskListId, tuple[int, int]]:
        """Tasks polled and tasks settled since the start, by list."""
        polled = dict.fromkeys(self._minutes, 0)
        settled = dict.fromkeys(self._minutes, 0)
        for metric, counts in ((m.TASKS_POLLED, polled), *((each, settled) for each in SETTLED)):
            for labels, value in self._metrics.samples(metric):
                of = (labels[0], labels[1])
                if of in counts:
                    number = value.cumulative[-1] if isinstance(value, Distribution) else value
                    counts[of] += int(number)
        return {each: (polled[each], settled[each]) for each in self._minutes}

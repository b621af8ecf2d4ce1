"""A task list: tasks that wait for a poll, and polls that wait for a task."""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bridge.local.clock import Timer
from bridge.local.task import Task


class Caller(Protocol):
    """The client at the other end of a call."""

    spoiled: str | None
    """Why the answer will not be heard although the client is there: the fault in its way."""

    def alive(self) -> bool:
        """Whether the client still waits for the answer."""


@dataclass(eq=False)
class Poll:
    """A PollForActivityTask that is held; `answer(None)` is an empty poll."""

    identity: str | None
    caller: Caller
    answer: Callable[[Task | None], None]
    expiry: Timer | None = None


@dataclass(eq=False)
class TaskList:
    """Tasks by priority and age on one side, polls by age on the other; one side is empty."""

    polls: deque[Poll] = field(default_factory=deque)
    started: int = 0
    most_started: int = 0
    _waiting: list[tuple[int, int, Task]] = field(default_factory=list)
    _scheduled: int = 0
    _sequence: int = 0

    @property
    def scheduled(self) -> int:
        """How many tasks wait for a poll."""
        return self._scheduled

    def add(self, task: Task) -> None:
        """Queue a task: higher taskPriority first, then the older."""
        self._sequence += 1
        self._scheduled += 1
        heapq.heappush(self._waiting, (-task.priority, self._sequence, task))

    def take(self) -> Task | None:
        """Return the next task, which leaves the list; None where there is none."""
        while self._waiting:
            task = heapq.heappop(self._waiting)[2]
            if task.state == "scheduled":
                self._scheduled -= 1
                return task
        return None

    def drop(self) -> None:
        """Note that a task which waits here closed without a poll; `take` steps over it."""
        self._scheduled -= 1

    def count_started(self, change: int) -> None:
        """Keep the number of tasks that are with workers, and its peak."""
        self.started += change
        self.most_started = max(self.most_started, self.started)

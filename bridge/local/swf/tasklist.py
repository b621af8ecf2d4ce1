"""A task list: tasks that wait for a poll, or polls that wait for a task."""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from bridge.local.swf.task import Task


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call."""


class Clock(Protocol):
    """The two methods of an asyncio event loop that the model needs."""

    def time(self) -> float:
        """Seconds on a monotonic clock."""

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Call `callback(*args)` in `delay` seconds."""


class Caller(Protocol):
    """The client at the other end of a call."""

    spoiled: str | None
    """The kind of the fault that will lose the answer, or None."""

    def alive(self) -> bool:
        """Whether the client is still connected and waits for the answer."""


@dataclass(eq=False)
class Poll:
    """A held PollForActivityTask; `answer(None)` answers it without a task."""

    identity: str | None
    caller: Caller
    answer: Callable[[Task | None], None]
    expiry: Timer | None = None


@dataclass(eq=False)
class TaskList:
    """Waiting tasks by priority and age, or held polls by age; never both."""

    polls: deque[Poll] = field(default_factory=deque)
    started: int = 0
    most_started: int = 0
    _waiting: list[tuple[int, int, Task]] = field(default_factory=list)
    _scheduled: int = 0
    _sequence: int = 0

    @property
    def scheduled(self) -> int:
        """The number of tasks that wait for a poll."""
        return self._scheduled

    def add(self, task: Task) -> None:
        """Queue a task: higher taskPriority first, then older first."""
        self._sequence += 1
        self._scheduled += 1
        heapq.heappush(self._waiting, (-task.priority, self._sequence, task))

    def take(self) -> Task | None:
        """Remove and return the next task, or None if no task waits."""
        while self._waiting:
            task = heapq.heappop(self._waiting)[2]
            if task.state == "scheduled":
                self._scheduled -= 1
                return task
        return None

    def drop(self) -> None:
        """Count out a waiting task that closed without a poll; `take` skips it."""
        self._scheduled -= 1

    def count_started(self, change: int) -> None:
        """Add `change` to the number of started tasks, and update its maximum."""
        self.started += change
        self.most_started = max(self.most_started, self.started)

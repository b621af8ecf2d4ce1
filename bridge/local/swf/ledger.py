"""Queries over the tasks for tests, counts of calls, and waits for tasks to close."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bridge.local.swf.model import Swf
from bridge.local.swf.task import OPEN_STATES, Task
from bridge.local.swf.tasklist import Clock, Timer


@dataclass(eq=False)
class _Watch:
    """A wait until these tasks are closed, or with None until no task is open."""

    remaining: set[str] | None
    done: Callable[[bool], None]
    timer: Timer | None = None


class Ledger:
    """Reads the model, and sets its `on_close`; it changes no tasks."""

    def __init__(self, swf: Swf, clock: Clock) -> None:
        self._swf = swf
        self._clock = clock
        self._calls: dict[str, Counter[str]] = defaultdict(Counter)
        self._watches: list[_Watch] = []
        swf.on_close = self._closed

    def count(self, operation: str, outcome: str) -> None:
        """Count a call by outcome: ok, task, empty, an error's name, or the fault's kind."""
        self._calls[operation][outcome] += 1

    def clear(self) -> None:
        """Delete the counts of calls and end every wait as closed; the tasks are deleted."""
        self._calls.clear()
        for watch in list(self._watches):
            self._finish(watch, closed=True)

    def tasks(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        domain: str | None = None,
        task_list: str | None = None,
        since: float | None = None,
    ) -> Iterable[Task]:
        """Return tasks, oldest first; `state` may be open or closed, `since` is Unix time."""
        open_or_closed = {"open": True, "closed": False}.get(state or "")
        return (
            task
            for task in self._swf.tasks.values()
            if (state in (None, task.state) or open_or_closed is task.is_open)
            and name in (None, task.name)
            and domain in (None, task.execution.domain)
            and task_list in (None, task.task_list)
            and (since is None or task.scheduled.at >= since)
        )

    def counts(self) -> dict[str, Any]:
        """Return the totals; `mostAtOnce` is the highest number of started tasks at once."""
        lists = self._swf.lists
        closed = dict(self._swf.closed)
        scheduled = sum(tasks.scheduled for tasks in lists.values())
        return {
            "total": self._swf.submitted,
            "open": scheduled + self._swf.started,
            **dict(zip(OPEN_STATES, (scheduled, self._swf.started), strict=True)),
            "closed": closed,
            "mostAtOnce": self._swf.most_started,
            "polls": sum(len(tasks.polls) for tasks in lists.values()),
            "taskLists": {
                f"{domain}/{name}": {
                    "scheduled": tasks.scheduled,
                    "started": tasks.started,
                    "mostAtOnce": tasks.most_started,
                    "polls": len(tasks.polls),
                }
                for (domain, name), tasks in lists.items()
            },
            "calls": {operation: dict(outcomes) for operation, outcomes in self._calls.items()},
        }

    def wait(self, ids: Iterable[str] | None, seconds: float, done: Callable[[bool], None]) -> None:
        """Call `done(True)` once the tasks are closed, `done(False)` after `seconds`."""
        remaining = None if ids is None else {i for i in ids if self._is_open(i)}
        watch = _Watch(remaining, done)
        if self._is_over(watch):
            done(True)
            return
        watch.timer = self._clock.call_later(seconds, self._expire, watch)
        self._watches.append(watch)

    def _closed(self, task: Task) -> None:
        for watch in list(self._watches):
            if watch.remaining is not None:
                watch.remaining.discard(task.id)
            if self._is_over(watch):
                self._finish(watch, closed=True)

    def _is_over(self, watch: _Watch) -> bool:
        if watch.remaining is None:
            return self._swf.closed.total() == self._swf.submitted
        return not watch.remaining

    def _is_open(self, task_id: str) -> bool:
        task = self._swf.tasks.get(task_id)
        return task is not None and task.is_open

    def _expire(self, watch: _Watch) -> None:
        self._finish(watch, closed=False)

    def _finish(self, watch: _Watch, *, closed: bool) -> None:
        if watch.timer is not None:
            watch.timer.cancel()
        self._watches.remove(watch)
        watch.done(closed)

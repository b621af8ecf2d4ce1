"""Slots: how many tasks of each task list may be out of SWF at once.

A poll takes a slot before it is sent, for SWF may answer it with a task. The slot then belongs to
the task until it is settled, wherever its answer came in; an empty poll gives it back.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping

from bridge.task import TaskListId


class Slots:
    """The slots of every task list. Safe to use from many threads; ``acquire`` alone blocks."""

    def __init__(self, limits: Mapping[TaskListId, int]) -> None:
        self._limits = dict(limits)
        self._lock = threading.Lock()
        self._freed = {label: threading.Condition(self._lock) for label in limits}
        self._watchers: dict[TaskListId, list[Callable[[], object]]] = {
            label: [] for label in limits
        }
        self._polls: Counter[TaskListId] = Counter()
        """By task list, as are ``_tasks``: changed under the lock. Whoever only tells the number
        reads one entry without it, which is whole with or without the interpreter's lock."""
        self._tasks: Counter[TaskListId] = Counter()
        self._held: dict[str, TaskListId] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<Slots {len(self._held)} in flight, {self._polls.total()} polls>"

    def acquire(self, label: TaskListId, timeout: float) -> bool:
        """Take a slot for a poll; False where none came free within ``timeout`` seconds."""
        with self._lock:
            self._freed[label].wait_for(lambda: self._closed or self._free(label) > 0, timeout)
            if self._closed or self._free(label) <= 0:
                return False
            self._polls[label] += 1
            return True

    def give_back(self, label: TaskListId) -> None:
        """The poll brought no task: its slot is free."""
        with self._lock:
            self._polls[label] -= 1
            self._freed[label].notify()

    def fill(self, label: TaskListId, task_id: str) -> None:
        """The poll brought this task: its slot is the task's until ``release``.

        SWF may give the same task again after a time-out of its own; the slot is still one.
        """
        with self._lock:
            self._polls[label] -= 1
            if not self._hold(label, task_id):
                self._freed[label].notify()

    def hold(self, label: TaskListId, task_id: str) -> None:
        """The journal brought this task over a restart; also of a list that is polled no more."""
        with self._lock:
            self._hold(label, task_id)

    def release(self, task_id: str) -> bool:
        """The task is settled; False where it held no slot here."""
        with self._lock:
            label = self._held.pop(task_id, None)
            if label is None:
                return False
            self._tasks[label] -= 1
            if label in self._freed:
                self._freed[label].notify()
        for watcher in self._watchers.get(label, ()):
            watcher()
        return True

    def watch(self, label: TaskListId, freed: Callable[[], object]) -> None:
        """Call ``freed``, which must not block, whenever a task has given its slot back."""
        self._watchers[label].append(freed)

    def close(self) -> None:
        """Let no more poll begin, and wake all who wait for a slot."""
        with self._lock:
            self._closed = True
            for freed in self._freed.values():
                freed.notify_all()

    def in_flight(self, label: TaskListId) -> int:
        """Tasks of the list that hold a slot."""
        return self._tasks[label]

    @property
    def labels(self) -> list[TaskListId]:
        """The task lists that have slots."""
        return list(self._limits)

    def polls(self, label: TaskListId) -> int:
        """Polls of the list that are open, or about to begin."""
        return self._polls[label]

    def limit(self, label: TaskListId) -> int:
        """Slots of the list."""
        return self._limits[label]

    def full(self, label: TaskListId) -> bool:
        """Whether tasks alone, without the polls in the air, leave no slot of the list free."""
        return self._tasks[label] >= self._limits[label]

    def _free(self, label: TaskListId) -> int:
        return self._limits[label] - self._polls[label] - self._tasks[label]

    def _hold(self, label: TaskListId, task_id: str) -> bool:
        """Whether the task held no slot before."""
        if task_id in self._held:
            return False
        self._held[task_id] = label
        self._tasks[label] += 1
        return True

"""Slots: they limit how many tasks of each task list are in flight at once.

A poll takes a slot before it is sent, because SWF may answer with a task. The slot then belongs to
the task until it is settled, by whichever instance. A poll without a task gives its slot back.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping

from bridge.task import TaskListId


class Slots:
    """The slots of all task lists. Safe to use from any thread; only ``acquire`` blocks."""

    def __init__(self, limits: Mapping[TaskListId, int]) -> None:
        self._limits = dict(limits)
        self._lock = threading.Lock()
        self._freed = {label: threading.Condition(self._lock) for label in limits}
        self._watchers: dict[TaskListId, list[Callable[[], object]]] = {
            label: [] for label in limits
        }
        self._polls: Counter[TaskListId] = Counter()
        """Open polls of each task list. This and ``_tasks`` are changed under the lock. Reading one
        count needs no lock: that is atomic, in a free-threaded Python too."""
        self._tasks: Counter[TaskListId] = Counter()
        self._held: dict[str, TaskListId] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<Slots {len(self._held)} in flight, {self._polls.total()} polls>"

    def acquire(self, label: TaskListId, timeout: float) -> bool:
        """Take a slot for a poll; False if none is free within ``timeout`` seconds, or closed."""
        with self._lock:
            self._freed[label].wait_for(lambda: self._closed or self._free(label) > 0, timeout)
            if self._closed or self._free(label) <= 0:
                return False
            self._polls[label] += 1
            return True

    def give_back(self, label: TaskListId) -> None:
        """Free the slot of a poll that brought no task."""
        with self._lock:
            self._polls[label] -= 1
            self._freed[label].notify()

    def fill(self, label: TaskListId, task_id: str) -> None:
        """Hand the slot of a poll to the task that it brought, until ``release``.

        If the task holds a slot already, the poll's slot becomes free.
        """
        with self._lock:
            self._polls[label] -= 1
            if not self._hold(label, task_id):
                self._freed[label].notify()

    def hold(self, label: TaskListId, task_id: str) -> None:
        """Give a slot to a task that the journal holds at the start, even if its list has none."""
        with self._lock:
            self._hold(label, task_id)

    def release(self, task_id: str) -> bool:
        """Free the slot of a settled task; False if it held none."""
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
        """Call ``freed``, which must not block, whenever a task of the list frees its slot."""
        self._watchers[label].append(freed)

    def close(self) -> None:
        """Grant no more slots to polls, and wake all threads that wait for one."""
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
        """Polls of the list that hold a slot: open, or about to be sent."""
        return self._polls[label]

    def limit(self, label: TaskListId) -> int:
        """The number of slots of the list."""
        return self._limits[label]

    def full(self, label: TaskListId) -> bool:
        """Whether tasks alone hold all slots of the list; open polls do not count."""
        return self._tasks[label] >= self._limits[label]

    def _free(self, label: TaskListId) -> int:
        return self._limits[label] - self._polls[label] - self._tasks[label]

    def _hold(self, label: TaskListId, task_id: str) -> bool:
        """Give the task a slot; False if it holds one already. Hold the lock."""
        if task_id in self._held:
            return False
        self._held[task_id] = label
        self._tasks[label] += 1
        return True

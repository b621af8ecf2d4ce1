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
        self._freed = {task_list_id: threading.Condition(self._lock) for task_list_id in limits}
        self._watchers: dict[TaskListId, list[Callable[[], object]]] = {
            task_list_id: [] for task_list_id in limits
        }
        self._polls: Counter[TaskListId] = Counter()
        """Open polls of each task list. This and ``_tasks`` are changed under the lock. Reading one
        count needs no lock: that is atomic, in a free-threaded Python too."""
        self._tasks: Counter[TaskListId] = Counter()
        self._held: dict[str, TaskListId] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<Slots {len(self._held)} in flight, {self._polls.total()} polls>"

    def acquire(self, task_list_id: TaskListId, timeout: float) -> bool:
        """Take a slot for a poll; False if none is free within ``timeout`` seconds, or closed."""
        with self._lock:
            self._freed[task_list_id].wait_for(
                lambda: self._closed or self._free(task_list_id) > 0, timeout
            )
            if self._closed or self._free(task_list_id) <= 0:
                return False
            self._polls[task_list_id] += 1
            return True

    def give_back(self, task_list_id: TaskListId) -> None:
        """Free the slot of a poll that brought no task."""
        with self._lock:
            self._polls[task_list_id] -= 1
            self._freed[task_list_id].notify()

    def fill(self, task_list_id: TaskListId, task_id: str) -> None:
        """Hand the slot of a poll to the task that it brought, until ``release``.

        If the task holds a slot already, the poll's slot becomes free.
        """
        with self._lock:
            self._polls[task_list_id] -= 1
            if not self._hold(task_list_id, task_id):
                self._freed[task_list_id].notify()

    def hold(self, task_list_id: TaskListId, task_id: str) -> None:
        """Give a slot to a task that the journal holds at the start, even if its list has none."""
        with self._lock:
            self._hold(task_list_id, task_id)

    def release(self, task_id: str) -> bool:
        """Free the slot of a settled task; False if it held none."""
        with self._lock:
            task_list_id = self._held.pop(task_id, None)
            if task_list_id is None:
                return False
            self._tasks[task_list_id] -= 1
            if task_list_id in self._freed:
                self._freed[task_list_id].notify()
        for watcher in self._watchers.get(task_list_id, ()):
            watcher()
        return True

    def watch(self, task_list_id: TaskListId, freed: Callable[[], object]) -> None:
        """Call ``freed``, which must not block, whenever a task of the list frees its slot."""
        self._watchers[task_list_id].append(freed)

    def close(self) -> None:
        """Grant no more slots to polls, and wake all threads that wait for one."""
        with self._lock:
            self._closed = True
            for freed in self._freed.values():
                freed.notify_all()

    def in_flight(self, task_list_id: TaskListId) -> int:
        """Tasks of the list that hold a slot."""
        return self._tasks[task_list_id]

    @property
    def task_list_ids(self) -> list[TaskListId]:
        """The task lists that have slots."""
        return list(self._limits)

    def polls(self, task_list_id: TaskListId) -> int:
        """Polls of the list that hold a slot: open, or about to be sent."""
        return self._polls[task_list_id]

    def limit(self, task_list_id: TaskListId) -> int:
        """The number of slots of the list."""
        return self._limits[task_list_id]

    def full(self, task_list_id: TaskListId) -> bool:
        """Whether tasks alone hold all slots of the list; open polls do not count."""
        return self._tasks[task_list_id] >= self._limits[task_list_id]

    def _free(self, task_list_id: TaskListId) -> int:
        return self._limits[task_list_id] - self._polls[task_list_id] - self._tasks[task_list_id]

    def _hold(self, task_list_id: TaskListId, task_id: str) -> bool:
        """Give the task a slot; False if it holds one already. Hold the lock."""
        if task_id in self._held:
            return False
        self._held[task_id] = task_list_id
        self._tasks[task_list_id] += 1
        return True

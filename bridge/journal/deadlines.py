"""The deadlines of the tasks in hand, in memory; the journal's file is behind by a ``flush``."""

from collections.abc import Iterable
from threading import Lock

from bridge.journal.schema import Write
from bridge.task import Deadline

DEADLINES = (
    "SELECT id, close_by, beat_by FROM task WHERE close_by IS NOT NULL OR beat_by IS NOT NULL"
)
_SET = "UPDATE task SET close_by = ?, beat_by = ? WHERE id = ?"


class Deadlines:
    """When SWF gives up tasks, as far as that is known, from the rows of DEADLINES on.

    Safe to use from many threads.
    """

    def __init__(self, rows: Iterable[tuple[str, float | None, float | None]]) -> None:
        self._known = {task_id: Deadline(*deadline) for task_id, *deadline in rows}
        self._lock = Lock()
        """Over what is unwritten, which is taken out as a whole."""
        self._unwritten: set[str] = set()
        self.get = self._known.get

    def set(self, task_id: str, deadline: Deadline) -> None:
        """Take note."""
        self._known[task_id] = deadline
        with self._lock:
            self._unwritten.add(task_id)

    def forget(self, task_id: str) -> None:
        """The task is not in hand any more."""
        self._known.pop(task_id, None)
        with self._lock:
            self._unwritten.discard(task_id)

    def before(self, when: float) -> list[str]:
        """The tasks whose deadline was then, the oldest first."""
        found = ((each.at, task_id) for task_id, each in list(self._known.items()))
        return [task_id for at, task_id in sorted((at or when, x) for at, x in found) if at < when]

    def unwritten(self) -> Write | None:
        """What is to be written of those that were set since this was asked last."""
        with self._lock:
            ids, self._unwritten = self._unwritten, set()
        rows = [(*known, each) for each in ids if (known := self._known.get(each)) is not None]
        return Write(_SET, *rows) if rows else None

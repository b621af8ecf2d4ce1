"""The deadlines of the tasks in hand, in memory; a ``flush`` writes new ones to the journal."""

from collections.abc import Iterable
from threading import Lock

from bridge.journal.schema import Write
from bridge.task import Deadline

DEADLINES = (
    "SELECT id, close_by, beat_by FROM task WHERE close_by IS NOT NULL OR beat_by IS NOT NULL"
)
_SET = "UPDATE task SET close_by = ?, beat_by = ? WHERE id = ?"


class Deadlines:
    """The known times at which SWF times tasks out, loaded from the rows of DEADLINES.

    Safe to use from many threads.
    """

    def __init__(self, rows: Iterable[tuple[str, float | None, float | None]]) -> None:
        self._known = {task_id: Deadline(*deadline) for task_id, *deadline in rows}
        self._lock = Lock()
        """Guards ``_unwritten``, which ``unwritten`` replaces by an empty set."""
        self._unwritten: set[str] = set()
        self.get = self._known.get

    def set(self, task_id: str, deadline: Deadline) -> None:
        """Store the deadline of a task, to be written at the next ``flush``."""
        self._known[task_id] = deadline
        with self._lock:
            self._unwritten.add(task_id)

    def forget(self, task_id: str) -> None:
        """Drop the deadline of a task that is not in hand."""
        self._known.pop(task_id, None)
        with self._lock:
            self._unwritten.discard(task_id)

    def before(self, when: float) -> list[str]:
        """The ids of tasks whose deadline is before ``when`` (SWF's clock), earliest first."""
        found = ((each.at, task_id) for task_id, each in list(self._known.items()))
        return [task_id for at, task_id in sorted((at or when, x) for at, x in found) if at < when]

    def unwritten(self) -> Write | None:
        """The write for all deadlines set since the last call; None if there are none."""
        with self._lock:
            ids, self._unwritten = self._unwritten, set()
        rows = [(*known, each) for each in ids if (known := self._known.get(each)) is not None]
        return Write(_SET, rows) if rows else None

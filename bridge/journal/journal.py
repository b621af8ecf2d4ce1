"""The tasks in hand, on disk: polled → published → settled (SQLite in WAL mode).

What stands here survives the process; what SWF gave away and does not stand here comes back by
SWF's time-outs alone. How a change gets to the disk stands in ``commits``.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from bridge.journal.commits import Commits
from bridge.journal.deadlines import DEADLINES, Deadlines
from bridge.journal.entry import Entry, InHand, Standing, entry_of
from bridge.journal.file import JournalFile, new_id
from bridge.journal.schema import FORGET_SETTLED, SETTLED_KEPT, Write
from bridge.journal.slots import Slots
from bridge.task import ActivityTask, Deadline, TaskListId

PAGE = 500
FORGET_EVERY = 1000
"""Settlements between two clearings of those that are too old to remember."""
LOCK_TIMEOUT = 30.0


_RECORD = (
    "INSERT INTO task (id, domain, task_list, polled_at, body, given_at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO NOTHING"
)
_SETTLE = "INSERT INTO settled (id) VALUES (?)"  # a trigger removes the task
_REMOVE = "DELETE FROM task WHERE id = ?"
_IN_HAND = "SELECT id, domain, task_list, polled_at FROM task ORDER BY seq"
_TOLD, _OWED = 1, 2
"""What ``cancel_noticed`` holds once SWF has asked to cancel the task."""
_ENTRY = "body, polled_at, given_at, published, first_word, cancel_noticed"


class Journal:
    """The journal, held by this process alone until ``close``.

    A change is committed when its method returns, or with all others that a thread makes
    ``together``. Where the disk does not take it, it is kept in memory and in order, ``writable``
    is cleared, and ``flush`` writes it as soon as it can: the way back to SWF stays open without
    the disk. Tasks in hand hold their ``slots``, from an earlier life too, until they are settled.

    Raises ConfigError for a path that cannot work or a journal of a newer version, PartFailed
    where another process holds it for over ``lock_timeout`` seconds. A corrupt file is renamed
    aside and a new one begun.
    """

    def __init__(
        self,
        path: Path,
        *,
        slots: Slots | None = None,
        lock_timeout: float = LOCK_TIMEOUT,
        observe: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self.path = path
        self._slots = slots
        self._unwritten: dict[str, Entry] = {}
        """Tasks whose record waits for the disk."""
        self._in_hand: dict[str, InHand] = {}
        """Every task in hand; the disk may be behind. Threads change this, ``_unwritten`` and
        ``_confirmed`` one entry at a time, and look through a copy that ``list`` takes in one go:
        both are whole with or without the interpreter's lock. What belongs together is done under
        the lock of the commits."""
        self._remembered: dict[str, None] = {}
        """The last settled tasks, as the file has them, the oldest first."""
        self._confirmed: dict[str, None] = {}
        self._settlements = 0
        self._file = JournalFile(path, lock_timeout)
        self.commits = Commits(self._file, written=self._is_written, observe=observe)
        self.read = self.commits.read
        self.together = self.commits.together
        self.look = self.commits.look
        ((self.instance,),) = self._file.read("SELECT id FROM instance")
        ((self._inherited,),) = self._file.read("SELECT ifnull(max(seq), 0) FROM task")
        for task_id, *what in self._file.read(_IN_HAND):
            self._in_hand[task_id] = held = InHand(*what)
            if slots is not None:
                slots.hold((held.domain, held.task_list), task_id)
        self.deadlines = Deadlines(self._file.read(DEADLINES))
        """Of the tasks in hand, as far as they are known."""
        self.overridden = {tuple(row) for row in self._file.read("SELECT * FROM overridden")}
        """Activity types (domain, name, version) whose registered time-outs do not tell."""
        self._remembered.update(self._file.read("SELECT id, NULL FROM settled ORDER BY seq"))
        self.writable.set()

    @property
    def writable(self) -> threading.Event:
        """Set while the disk takes what is written."""
        return self.commits.writable

    def __repr__(self) -> str:
        return f"<Journal {self.path} {'writable' if self.writable.is_set() else 'NOT WRITABLE'}>"

    def take_new_id(self) -> str:
        """Be another instance from now on, with all that is in hand; its id."""
        taken = self.instance = new_id()
        self.execute("UPDATE instance SET id = ?", taken)
        return taken

    # --- the life of a task ---

    def record(self, task: ActivityTask, body: bytes) -> None:
        """A poll brought this task: from now on it is owed to a worker or back to SWF."""
        row = (task.id, task.domain, task.task_list, task.polled_at, body, task.given_at)
        self._unwritten[task.id] = Entry(task, body, False, False, False)
        self._in_hand[task.id] = InHand(task.domain, task.task_list, task.polled_at)
        self.commits.add(Write(_RECORD, row, task_id=task.id))

    def published(self, task_id: str) -> None:
        """RabbitMQ has confirmed the task; written at the next ``flush``.

        Most tasks are settled before; after a kill the rest is published twice.
        """
        self._confirmed[task_id] = None

    def expires(self, task_id: str, deadline: Deadline) -> None:
        """SWF will give the task up then; written at the next ``flush``."""
        self.deadlines.set(task_id, deadline)
        if task_id not in self._in_hand:  # it was settled meanwhile
            self.deadlines.forget(task_id)

    def override(self, kind: tuple[str, str, str]) -> None:
        """A decider gives tasks of this type other time-outs than it is registered with."""
        self.overridden.add(kind)
        self.execute("INSERT OR IGNORE INTO overridden VALUES (?, ?, ?)", *kind)

    def owe(self, task_id: str) -> None:
        """RabbitMQ has the task no more: it is to be published again, if it is still in hand."""
        self._confirmed.pop(task_id, None)
        self.commits.add(Write("UPDATE task SET published = 0 WHERE id = ?", (task_id,)))

    def settle(self, task_id: str, *, remember: bool = True) -> InHand | None:
        """The task is closed in SWF: it is no longer in hand. None where it was not.

        A task that the bridge closed is remembered, to know a second reply for what it is.
        """
        held = self._in_hand.pop(task_id, None)
        if remember:
            self._remember(task_id)
        if remember or held is not None:
            settle = _SETTLE if remember else _REMOVE
            self.commits.add(Write(settle, (task_id,), task_id=task_id))
        self._unwritten.pop(task_id, None)
        self._confirmed.pop(task_id, None)
        self.deadlines.forget(task_id)
        if self._slots is not None:
            self._slots.release(task_id)
        return held

    def first_word(self, task_id: str) -> None:
        """A worker has spoken of the task."""
        if deadline := self.deadlines.get(task_id):
            self.expires(task_id, deadline.after_first_word)
        self._mark("first_word", task_id)

    def cancel_noticed(self, task_id: str) -> bool:
        """Remember that a notice of the cancel is owed; True the first time."""
        entry = self.get(task_id)
        if entry is None or entry.cancel_noticed:
            return False
        self._mark("cancel_noticed", task_id, _OWED)
        return True

    def cancel_told(self, task_id: str) -> None:
        """RabbitMQ has the notice of the cancel: it is owed no more."""
        self._mark("cancel_noticed", task_id, _TOLD)

    # --- questions ---

    def get(self, task_id: str) -> Entry | None:
        """The task, if it is in hand."""
        if entry := self._unwritten.get(task_id):
            return entry
        if task_id not in self._in_hand:
            return None
        rows = self.read(f"SELECT {_ENTRY} FROM task WHERE id = ?", task_id)  # noqa: S608
        return self._as_confirmed(entry_of(rows[0])) if rows else None

    def holds(self, task_id: str) -> bool:
        """Whether the task is in hand; reads nothing from the disk."""
        return task_id in self._in_hand

    def was_settled(self, task_id: str) -> bool:
        """Whether this journal settled the task, as far as it remembers (``SETTLED_KEPT``)."""
        return task_id in self._remembered

    def tasks(self, where: str = "TRUE") -> Iterator[Entry]:
        """Every task in hand, the oldest first; ``where`` is a condition of this module's SQL."""
        last = 0
        while True:
            rows = self.read(
                f"SELECT seq, {_ENTRY} FROM task WHERE {where} AND seq > ?"  # noqa: S608
                f" ORDER BY seq LIMIT {PAGE}",
                last,
            )
            for seq, *row in rows:
                last = seq
                entry = self._as_confirmed(entry_of(tuple(row)))
                if entry.task.id in self._in_hand:
                    yield entry
            if len(rows) < PAGE:
                return

    def owed(self) -> Iterator[Entry]:
        """The tasks of an earlier life that RabbitMQ has not confirmed."""
        return self.tasks(f"NOT published AND seq <= {self._inherited}")

    def cancels_owed(self) -> Iterator[Entry]:
        """The tasks of whose cancel RabbitMQ has no notice yet, or has not said so."""
        return self.tasks(f"cancel_noticed = {_OWED}")

    def handed_over(
        self, *, before: float, after: int = 0, label: TaskListId | None = None, limit: int
    ) -> list[tuple[int, Entry]]:
        """Published tasks polled ``before`` a time, the oldest first, of one list or of all.

        Each comes with its place in the journal; ``after`` goes on behind such a place.
        """
        domain, task_list = label or (None, None)
        rows = self.read(
            f"SELECT seq, {_ENTRY} FROM task WHERE published AND seq > ?1"  # noqa: S608
            " AND (?2 IS NULL OR domain = ?2 AND task_list = ?3) ORDER BY seq LIMIT ?4",
            after,
            domain,
            task_list,
            limit,
        )
        entries = ((seq, entry_of(tuple(row))) for seq, *row in rows)
        return [each for each in entries if each[1].task.polled_at < before]

    def labels(self) -> list[tuple[str, str, str]]:
        """The id, domain and task list of every task in hand."""
        return [(task_id, *held[:2]) for task_id, held in list(self._in_hand.items())]

    def standing(self) -> dict[TaskListId, Standing]:
        """How the tasks in hand stand, by task list; reads no bodies."""
        published = {each for (each,) in self.read("SELECT id FROM task WHERE published")}
        found: dict[TaskListId, Standing] = {}
        for task_id, (domain, name, polled_at) in list(self._in_hand.items()):
            tasks, owed, oldest, due = found.get((domain, name), Standing(0, 0, polled_at))
            owed += task_id not in published and task_id not in self._confirmed
            if (known := self.deadlines.get(task_id)) and known.at is not None:
                due = known.at if due is None else min(due, known.at)
            found[domain, name] = Standing(tasks + 1, owed, min(oldest, polled_at), due)
        return found

    def size(self) -> int:
        """Bytes on disk, with the write-ahead log."""
        return self._file.size()

    # --- the disk ---

    def flush(self) -> bool:
        """Write what waits; whether the disk took it. Call it about once a second."""
        if not self.commits.is_there():
            return False
        ids = [(each,) for each in list(self._confirmed)]
        self.commits.flush(self._lazy(ids))
        for (each,) in ids:  # only now: until it is written, whoever asks is told from here
            self._confirmed.pop(each, None)
        return self.writable.is_set()

    def _lazy(self, confirmed: list[tuple[str]]) -> Iterator[Write]:
        """What is written at a ``flush`` only."""
        if confirmed:
            yield Write("UPDATE task SET published = 1 WHERE id = ?", *confirmed)
        if write := self.deadlines.unwritten():
            yield write
        if self._settlements >= FORGET_EVERY:
            self._settlements = 0
            yield Write(FORGET_SETTLED, ())

    def close(self) -> None:
        """Write what waits and give the journal up."""
        self.flush()
        self.commits.close()

    def _is_written(self, write: Write) -> None:
        """Under the lock of the commits."""
        self._unwritten.pop(write.task_id, None)

    def _mark(
        self, column: Literal["first_word", "cancel_noticed"], task_id: str, value: int = 1
    ) -> None:
        with self.commits.lock:
            if entry := self._unwritten.get(task_id):
                marked: dict[str, Any] = {column: True}
                self._unwritten[task_id] = replace(entry, **marked)
        write = Write(f"UPDATE task SET {column} = {value} WHERE id = ?", (task_id,))  # noqa: S608
        self.commits.add(write, at_once=True)  # whoever asks next has to see it

    def _as_confirmed(self, entry: Entry) -> Entry:
        """With the confirm that is not written yet."""
        return replace(entry, published=True) if entry.task.id in self._confirmed else entry

    def _remember(self, task_id: str) -> None:
        with self.commits.lock:
            self._settlements += 1
            self._remembered[task_id] = None
            if len(self._remembered) > SETTLED_KEPT:
                del self._remembered[next(iter(self._remembered))]

    def execute(self, statement: str, *values: object) -> None:
        """Commit a statement of this room's; where the disk does not take it, at a ``flush``."""
        self.commits.add(Write(statement, values), at_once=True)

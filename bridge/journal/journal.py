"""The tasks in hand, on disk: polled → published → settled (SQLite in WAL mode).

A recorded task survives the process. A polled task that was not recorded comes back only by SWF's
time-outs. ``commits`` describes how a change is written.
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
"""Settled tasks between two deletions of the oldest rows of ``settled`` (see SETTLED_KEPT)."""
LOCK_TIMEOUT = 30.0


_RECORD = (
    "INSERT INTO task (id, domain, task_list, polled_at, body, given_at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO NOTHING"
)
_SETTLE = "INSERT INTO settled (id) VALUES (?)"  # a trigger removes the task
_REMOVE = "DELETE FROM task WHERE id = ?"
_IN_HAND = "SELECT id, domain, task_list, polled_at FROM task ORDER BY seq"
_TOLD, _OWED = 1, 2
"""Values of ``cancel_noticed``: the notice of SWF's cancel request is confirmed, or is not yet."""
_ENTRY = "body, polled_at, given_at, published, first_word, cancel_noticed"


class Journal:
    """The journal, locked by this process until ``close``. Safe to use from any thread.

    A change is committed when its method returns; inside ``together``, when the block ends. While
    the disk fails, changes are kept in memory, in order; ``writable`` is cleared and a later
    ``flush`` writes them. So replies can be settled without the disk. A task in hand holds one of
    the ``slots`` until it is settled, also after a restart.

    Raises ConfigError and PartFailed as JournalFile does. A corrupt file is renamed aside and a new
    one is created.
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
        """Tasks that are not yet in the file."""
        self._in_hand: dict[str, InHand] = {}
        """Every task in hand, those not yet in the file too. Threads change this, ``_unwritten``
        and ``_confirmed`` one entry at a time, and iterate over a copy made by ``list``. Both are
        atomic, in a free-threaded Python too. Changes of several entries are made under the lock
        of the commits."""
        self._remembered: dict[str, None] = {}
        """The last SETTLED_KEPT tasks that this journal settled, the oldest first."""
        self._confirmed: dict[str, None] = {}
        self._settlements = 0
        self._file = JournalFile(path, lock_timeout)
        self.commits = Commits(self._file, written=self._is_written, observe=observe)
        self.read = self.commits.read
        self.together = self.commits.together
        self.afterwards = self.commits.afterwards
        self.look = self.commits.look
        ((self.instance,),) = self._file.read("SELECT id FROM instance")
        ((self._inherited,),) = self._file.read("SELECT ifnull(max(seq), 0) FROM task")
        for task_id, *what in self._file.read(_IN_HAND):
            self._in_hand[task_id] = held = InHand(*what)
            if slots is not None:
                slots.hold((held.domain, held.task_list), task_id)
        self.deadlines = Deadlines(self._file.read(DEADLINES))
        """The known deadlines of the tasks in hand."""
        self.overridden = {tuple(row) for row in self._file.read("SELECT * FROM overridden")}
        """Activity types (domain, name, version) whose registered time-outs a decider overrides."""
        self._remembered.update(self._file.read("SELECT id, NULL FROM settled ORDER BY seq"))
        self.writable.set()

    @property
    def writable(self) -> threading.Event:
        """Set while changes can be written to the disk."""
        return self.commits.writable

    def __repr__(self) -> str:
        return f"<Journal {self.path} {'writable' if self.writable.is_set() else 'NOT WRITABLE'}>"

    def take_new_id(self) -> str:
        """Give this instance a new id, and return it; the tasks in hand stay."""
        taken = self.instance = new_id()
        self.execute("UPDATE instance SET id = ?", taken)
        return taken

    # --- the life of a task ---

    def record(self, task: ActivityTask, body: bytes) -> None:
        """Record a polled task, which must then be published or failed back to SWF."""
        row = (task.id, task.domain, task.task_list, task.polled_at, body, task.given_at)
        self._unwritten[task.id] = Entry(task, body, False, False, False)
        self._in_hand[task.id] = InHand(task.domain, task.task_list, task.polled_at)
        self.commits.add(_RECORD, *row, task_id=task.id)

    def published(self, task_id: str) -> None:
        """Note that RabbitMQ has confirmed the task; the next ``flush`` writes it.

        Most tasks are settled before that. After a kill the other ones are published twice.
        """
        self._confirmed[task_id] = None

    def expires(self, task_id: str, deadline: Deadline) -> None:
        """Note when SWF times the task out; the next ``flush`` writes it."""
        self.deadlines.set(task_id, deadline)
        if task_id not in self._in_hand:  # another thread has settled it
            self.deadlines.forget(task_id)

    def override(self, kind: tuple[str, str, str]) -> None:
        """Note that a decider overrides the registered time-outs of this activity type."""
        self.overridden.add(kind)
        self.execute("INSERT OR IGNORE INTO overridden VALUES (?, ?, ?)", *kind)

    def owe(self, task_id: str) -> None:
        """Mark a task as unpublished: RabbitMQ has lost it, so it must be published again."""
        self._confirmed.pop(task_id, None)
        self.commits.add("UPDATE task SET published = 0 WHERE id = ?", task_id)

    def settle(self, task_id: str, *, remember: bool = True) -> InHand | None:
        """Remove a task that SWF has closed and free its slot; None if it was not in hand.

        ``remember`` the id if this bridge closed the task: a second reply is then a duplicate.
        """
        held = self._in_hand.pop(task_id, None)
        if remember:
            self._remember(task_id)
        if remember or held is not None:
            settle = _SETTLE if remember else _REMOVE
            self.commits.add(settle, task_id, task_id=task_id)
        self._unwritten.pop(task_id, None)
        self._confirmed.pop(task_id, None)
        self.deadlines.forget(task_id)
        if self._slots is not None:
            self._slots.release(task_id)
        return held

    def first_word(self, task_id: str) -> None:
        """Note the first reply or heartbeat of a worker: the heartbeat deadline is void."""
        if deadline := self.deadlines.get(task_id):
            self.expires(task_id, deadline.after_first_word)
        self._mark("first_word", task_id)

    def cancel_noticed(self, task_id: str) -> bool:
        """Note that a notice of the cancel request must be published; True the first time."""
        entry = self.get(task_id)
        if entry is None or entry.cancel_noticed:
            return False
        self._mark("cancel_noticed", task_id, _OWED)
        return True

    def cancel_told(self, task_id: str) -> None:
        """Note that RabbitMQ has confirmed the notice of the cancel request."""
        self._mark("cancel_noticed", task_id, _TOLD)

    # --- questions ---

    def get(self, task_id: str) -> Entry | None:
        """The entry of a task; None if it is not in hand."""
        if entry := self._unwritten.get(task_id):
            return self._as_confirmed(entry)
        if task_id not in self._in_hand:
            return None
        rows = self.read(f"SELECT {_ENTRY} FROM task WHERE id = ?", task_id)  # noqa: S608
        return self._as_confirmed(entry_of(rows[0])) if rows else None

    def holds(self, task_id: str) -> bool:
        """Whether the task is in hand; reads nothing from the disk."""
        return task_id in self._in_hand

    def was_settled(self, task_id: str) -> bool:
        """Whether the task is among the last SETTLED_KEPT that this bridge closed."""
        return task_id in self._remembered

    def last_settled(self, count: int) -> list[str]:
        """The ids of the last tasks that this bridge closed, at most ``count``, oldest first."""
        with self.commits.lock:
            return list(self._remembered)[-count:]

    def tasks(self) -> Iterator[Entry]:
        """Iterate over all tasks in hand, oldest first; those not yet in the file come last."""
        # Listed before the file is read: one that is written meanwhile is found there.
        unwritten = {entry.task.id: entry for entry in list(self._unwritten.values())}
        for entry in self.written():
            unwritten.pop(entry.task.id, None)
            yield entry
        for task_id, entry in unwritten.items():
            if task_id in self._in_hand:
                yield self._as_confirmed(entry)

    def written(self, where: str = "TRUE") -> Iterator[Entry]:
        """Iterate over the tasks in hand that are in the file, oldest first; ``where`` is SQL."""
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
        """The tasks recorded before this start that RabbitMQ has not confirmed."""
        return self.written(f"NOT published AND seq <= {self._inherited}")

    def cancels_owed(self) -> Iterator[Entry]:
        """The tasks whose notice of a cancel request RabbitMQ has not confirmed."""
        return self.written(f"cancel_noticed = {_OWED}")

    def handed_over(
        self, *, before: float, after: int = 0, task_list_id: TaskListId | None = None, limit: int
    ) -> list[tuple[int, Entry]]:
        """Published tasks polled ``before`` a time, in order of record, of one list or of all.

        Each comes with its sequence number; pass the last one as ``after`` to get the next page.
        """
        domain, task_list = task_list_id or (None, None)
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

    def in_hand(self) -> list[tuple[str, str, str]]:
        """The id, domain and task list of every task in hand."""
        return [(task_id, *held[:2]) for task_id, held in list(self._in_hand.items())]

    def standing(self) -> dict[TaskListId, Standing]:
        """A summary of the tasks in hand for each task list; reads no bodies."""
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
        """Bytes on disk, including the write-ahead log."""
        return self._file.size()

    # --- the disk ---

    def flush(self) -> bool:
        """Write all waiting changes; False if the disk fails. Call it about once a second."""
        if not self.commits.is_there():
            return False
        if not self.writable.is_set():
            self.commits.flush(())
            if not self.writable.is_set():
                return False
        ids = [(each,) for each in list(self._confirmed)]
        self.commits.flush(self._lazy(ids))
        if self.writable.is_set():  # until they are written, readers need these ids
            for (each,) in ids:
                self._confirmed.pop(each, None)
        return self.writable.is_set()

    def _lazy(self, confirmed: list[tuple[str]]) -> Iterator[Write]:
        """The changes that only a ``flush`` writes: confirms, deadlines, forgotten ids."""
        if confirmed:
            yield Write("UPDATE task SET published = 1 WHERE id = ?", confirmed)
        if write := self.deadlines.unwritten():
            yield write
        if self._settlements >= FORGET_EVERY:
            self._settlements = 0
            yield Write(FORGET_SETTLED, [()])

    def close(self) -> None:
        """Write all waiting changes and close the file."""
        self.flush()
        self.commits.close()

    def _is_written(self, write: Write) -> None:
        """Forget the unwritten entry. The commits call this under their lock."""
        self._unwritten.pop(write.task_id, None)

    def _mark(
        self, column: Literal["first_word", "cancel_noticed"], task_id: str, value: int = 1
    ) -> None:
        with self.commits.lock:
            if entry := self._unwritten.get(task_id):
                marked: dict[str, Any] = {column: True}
                self._unwritten[task_id] = replace(entry, **marked)
        # At once, because ``get`` reads the mark from the file.
        self.execute(f"UPDATE task SET {column} = {value} WHERE id = ?", task_id)  # noqa: S608

    def _as_confirmed(self, entry: Entry) -> Entry:
        """Mark the entry as published if its confirm is not in the file yet."""
        return replace(entry, published=True) if entry.task.id in self._confirmed else entry

    def _remember(self, task_id: str) -> None:
        with self.commits.lock:
            self._settlements += 1
            self._remembered[task_id] = None
            if len(self._remembered) > SETTLED_KEPT:
                del self._remembered[next(iter(self._remembered))]

    def execute(self, statement: str, *values: object) -> None:
        """Commit an SQL statement; if the disk fails, a later ``flush`` does."""
        self.commits.add(statement, *values, at_once=True)

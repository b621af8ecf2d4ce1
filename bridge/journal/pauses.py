"""The task lists that an operator has paused: no new poll begins, also after a restart."""

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from bridge.journal.journal import Journal
from bridge.task import REASON_LIMIT, TaskListId, cut

log = logging.getLogger(__name__)

_PAUSE = "INSERT OR REPLACE INTO pause VALUES (?, ?, ?, ?, ?, ?)"
_RESUME = "DELETE FROM pause WHERE domain = ? AND task_list = ?"
_PAUSES = "SELECT domain, task_list, since, until, uid, reason FROM pause"


@dataclass(frozen=True, slots=True)
class Pause:
    """Who has paused a task list, when and why. Times are seconds since the epoch."""

    task_list_id: TaskListId
    since: float
    until: float | None
    """None: until an operator resumes the list."""
    uid: int
    reason: str
    due: float
    """Monotonic seconds at which the pause ends: setting the system's clock does not move it."""
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def text(self) -> str:
        """Why the list is not polled, in a sentence for an operator."""
        told = f"paused by uid {self.uid}"
        if self.until is not None:
            told += time.strftime(" until %Y-%m-%d %H:%M:%S UTC", time.gmtime(self.until))
        return f"{told}: {self.reason}" if self.reason else told

    @property
    def seconds(self) -> float:
        """Seconds since the pause began."""
        return max(0.0, time.time() - self.since)


class Pauses:
    """The current pauses, which the journal keeps too. Safe to use from any thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._changing = threading.Lock()
        """Held during a change and its commit, so that commits keep the order of changes."""
        self._standing: dict[TaskListId, Pause] = {}
        for domain, name, since, until, uid, reason in journal.read(_PAUSES):
            pause = Pause((domain, name), since, until, uid, reason, _due(until))
            self._standing[pause.task_list_id] = pause
            log.info("list.found_paused", extra=_fields(pause))

    def __repr__(self) -> str:
        return f"<Pauses {len(self._standing)}>"

    def of(self, task_list_id: TaskListId) -> Pause | None:
        """The pause of the list; None if it is not paused."""
        return self._standing.get(task_list_id)

    def all(self) -> list[Pause]:
        """Every pause, also of lists that the settings do not name."""
        return list(self._standing.values())

    def pause(
        self, task_list_ids: Iterable[TaskListId], *, seconds: float | None, uid: int, reason: str
    ) -> list[Pause]:
        """Pause these lists for ``seconds``, or until they are resumed if that is None.

        Returns the new pauses. A list that is already paused keeps its pause. The reason is cut to
        REASON_LIMIT.
        """
        now = time.time()
        until = None if seconds is None else now + seconds
        reason = cut(reason.encode(errors="backslashreplace").decode(), REASON_LIMIT)
        made = []
        with self._changing:
            for task_list_id in task_list_ids:
                if task_list_id not in self._standing:
                    pause = Pause(task_list_id, now, until, uid, reason, _due(until))
                    self._standing[task_list_id] = pause
                    self._journal.execute(_PAUSE, *task_list_id, now, until, uid, reason)
                    log.info("list.paused", extra=_fields(pause))
                    made.append(pause)
        return made

    def resume(self, task_list_ids: Iterable[TaskListId], *, uid: int) -> list[Pause]:
        """Let these lists be polled again; return the pauses that this call ended."""
        return [
            pause
            for task_list_id in task_list_ids
            if (pause := self.of(task_list_id)) and self._end(pause, uid=uid)
        ]

    def end_due(self) -> None:
        """End the pauses whose time is over. Call it about once a second."""
        now = time.monotonic()
        for pause in self.all():
            if pause.due <= now:
                self._end(pause)

    def _end(self, pause: Pause, **by: int) -> bool:
        with self._changing:
            if self._standing.get(pause.task_list_id) is not pause:
                return False
            del self._standing[pause.task_list_id]
            self._journal.execute(_RESUME, *pause.task_list_id)
        domain, task_list = pause.task_list_id
        told = {"domain": domain, "task_list": task_list, "seconds": round(pause.seconds, 1), **by}
        log.info("list.resumed", extra=told)
        pause.over.set()
        return True


def _due(until: float | None) -> float:
    return float("inf") if until is None else time.monotonic() + until - time.time()


def _fields(pause: Pause) -> dict[str, object]:
    domain, task_list = pause.task_list_id
    told = {"domain": domain, "task_list": task_list, "uid": pause.uid, "reason": pause.reason}
    return told if pause.until is None else {**told, "seconds": round(pause.until - time.time(), 1)}

"""Heartbeats of the bridge's own, for tasks that wait in a queue: until the worker's first word.

Off unless a task list asks for it: a task kept alive looks well while its worker is dead. What SWF
says on the way, that the task is closed or to be cancelled, is passed on at once.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Lock
from typing import Protocol

from bridge.errors import BadReply, TaskClosed, Unavailable
from bridge.flow.peers import Instances
from bridge.journal.journal import Entry
from bridge.swf.runner import Conversation
from bridge.task import ActivityTask, TaskListId

log = logging.getLogger(__name__)

LOOK = 0.5
"""Seconds between two looks at what is due. A heartbeat may be early by so much, never late."""
LANES = 2
"""Heartbeats of the bridge's own on their way at once: those of workers do not wait for many."""
RETRY = 5.0
"""Seconds until one that SWF could not take is tried again, where the interval is longer."""


class Beat(Protocol):
    """The one call of SWF that is made here."""

    def heartbeat(self, token: str, details: str | None) -> Conversation[bool]:
        """Whether SWF asks to cancel the task."""


class Waiting(Protocol):
    """The journal, as far as it is used here."""

    def get(self, task_id: str) -> Entry | None:
        """The task, if it is in hand."""

    def tasks(self, where: str = "TRUE") -> Iterator[Entry]:
        """Every task in hand, the oldest first."""

    def first_word(self, task_id: str) -> None:
        """A worker has spoken of the task."""


class Keepalive:
    """Beats for the tasks of the lists that ask for it. Safe to use from many threads.

    ``look`` is to be called every LOOK seconds; ``work`` has a conversation carried
    on beside those of workers' heartbeats, and ``own`` its second argument, unless one of a
    worker's is on its way.
    ``intervals`` has seconds between two heartbeats by task list, 0 for none.
    """

    def __init__(
        self,
        swf: Beat,
        journal: Waiting,
        instances: Instances,
        *,
        work: Callable[[Callable[[], Conversation[None]]], object],
        own: Callable[[str, Callable[[], Conversation[None]]], Conversation[None]],
        intervals: Mapping[TaskListId, float],
        limit: float,
    ) -> None:
        self._swf = swf
        self._journal = journal
        self._instances = instances
        self._work = work
        self._own = own
        self._intervals = {label: seconds for label, seconds in intervals.items() if seconds}
        self._limit = limit
        self._due: dict[str, float] = {}
        """The tasks whose worker has not spoken yet, and when the next heartbeat is due."""
        self._lock = Lock()
        self._next: deque[str] = deque()
        """Those that are due, in order."""
        self._lanes = 0

    def __repr__(self) -> str:
        return f"<Keepalive {len(self._due)} tasks>"

    def resume(self) -> None:
        """Go on with the tasks of an earlier life of the daemon: who knows how long it was away."""
        for entry in self._journal.tasks("NOT first_word") if self._intervals else ():
            if time.time() - entry.task.polled_at <= self._limit:
                self._watch(entry.task, 0.0)

    def watch(self, task: ActivityTask) -> None:
        """Keep the task alive, if its list asks for it. Call it before a worker can have it."""
        if interval := self._interval(task):
            self._watch(task, interval)

    def heard(self, task_id: str) -> None:
        """A worker has spoken of the task: from now on keeping it alive is the worker's."""
        self._due.pop(task_id, None)
        entry = self._journal.get(task_id)
        if entry is None:
            self._instances.spoke(task_id)
        elif not entry.first_word:
            self._journal.first_word(task_id)

    def forget(self, task_id: str) -> None:
        """The task is settled."""
        self._due.pop(task_id, None)

    def look(self) -> None:
        """See which tasks are due, and have heartbeats made for them."""
        until = time.monotonic() + LOOK
        due = [task_id for task_id, when in list(self._due.items()) if when <= until]
        with self._lock:
            known = set(self._next)
            self._next.extend(task_id for task_id in due if task_id not in known)
            idle = min(LANES - self._lanes, len(self._next))
            self._lanes += idle
        for _ in range(idle):
            self._work(self._go_on)

    def _interval(self, task: ActivityTask) -> float:
        return self._intervals.get((task.domain, task.task_list), 0.0)

    def _watch(self, task: ActivityTask, seconds: float) -> None:
        if self._interval(task):
            self._due[task.id] = time.monotonic() + seconds

    # --- conversations with SWF ---

    async def _go_on(self) -> None:
        """One heartbeat; then the next, behind what workers have sent meanwhile."""
        with self._lock:
            if not self._next:
                self._lanes -= 1
                return
            task_id = self._next.popleft()
        try:
            await self._beat(task_id)
        finally:
            self._work(self._go_on)

    async def _beat(self, task_id: str) -> None:
        entry = self._journal.get(task_id)
        if entry is None or entry.first_word or task_id not in self._due:
            self._due.pop(task_id, None)
            return
        task = entry.task
        self._due[task_id] = time.monotonic() + self._interval(task)
        if time.time() - task.polled_at > self._limit:
            log.warning("keepalive.ended", extra={"task": task_id, "seconds": self._limit})
            self._due.pop(task_id, None)
        else:
            await self._own(task_id, partial(self._beat_for, task))

    async def _beat_for(self, task: ActivityTask) -> None:
        try:
            if await self._swf.heartbeat(task.token, None):
                self._instances.cancel_requested(task.id)
        except TaskClosed:
            self._due.pop(task.id, None)
            self._instances.released(task.id, "closed in SWF")
        except BadReply as error:
            self._due.pop(task.id, None)
            log.warning("keepalive.refused", extra={"task": task.id, "error": error.detail})
        except Unavailable as error:
            soon = time.monotonic() + min(RETRY, self._interval(task))
            self._due[task.id] = soon
            log.info("keepalive.put_off", extra={"task": task.id, "error": str(error)})

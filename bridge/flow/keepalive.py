"""Heartbeats of the bridge's own, for tasks that wait in a queue: until the worker's first word.

Off unless a task list asks for it: a task kept alive looks well while its worker is dead. What SWF
says on the way, that the task is closed or to be cancelled, is passed on at once.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock

from bridge.errors import BadReply, TaskClosed, Unavailable
from bridge.flow.peers import Peers
from bridge.journal.journal import Journal
from bridge.rabbitmq.delivery import Settled
from bridge.scheduling.conversation import Conversation
from bridge.swf.client import Calls
from bridge.swf.executor import JobQueue
from bridge.task import ActivityTask, TaskListId

log = logging.getLogger(__name__)

LOOK = 0.5
"""Seconds between two looks at what is due. A heartbeat may be early by so much, never late."""
LANES = 2
"""Heartbeats of the bridge's own on their way at once: those of workers do not wait for many."""
HEARD_KEPT = 10_000
"""Tasks of which is remembered that their worker has spoken."""
RETRY = 5.0
"""Seconds until one that SWF could not take is tried again, where the interval is longer."""

Work = JobQueue[Callable[[], Conversation[Settled]]]
Own = Callable[[str, Callable[[], Conversation[None]]], Conversation[None]]
"""Has a heartbeat of the bridge's own for a task, unless a worker's is under way."""


class Keepalive:
    """Beats for the tasks of the lists that ask for it. Safe to use from many threads.

    ``look`` is to be called every LOOK seconds. ``intervals`` has seconds between two heartbeats by
    task list, 0 for none; after ``limit`` seconds a task is kept alive no longer. First words are
    marked in the journal where any list asks for heartbeats, or others want to know (``mark``).
    """

    def __init__(
        self,
        swf: Calls,
        journal: Journal,
        peers: Peers,
        *,
        intervals: Mapping[TaskListId, float],
        limit: float,
        mark: bool = False,
    ) -> None:
        self._swf = swf
        self._journal = journal
        self._peers = peers
        self._intervals = {name: seconds for name, seconds in intervals.items() if seconds}
        self._limit = limit
        self._mark = mark or bool(self._intervals)
        self._lock = Lock()
        self._due: dict[str, float] = {}
        """The tasks whose worker has not spoken yet, and when the next heartbeat is due."""
        self._heard: dict[str, None] = {}
        """The tasks whose worker has spoken, the oldest first."""
        self._next: deque[str] = deque()
        """Those that are due, in order."""
        self._lanes = 0

    @property
    def wanted(self) -> bool:
        """Whether any task list asks for it."""
        return bool(self._intervals)

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
        if not self._journal.holds(task_id):
            self._peers.spoke(task_id)
        elif self._mark and self._is_first(task_id):
            self._journal.first_word(task_id)

    def look(self, work: Work, own: Own) -> None:
        """See which tasks are due, and have heartbeats made for them beside those of workers.

        ``work`` is what the threads do that carry heartbeats to SWF.
        """
        until = time.monotonic() + LOOK
        with self._lock:
            due = [task_id for task_id, when in self._due.items() if when <= until]
            known = set(self._next)
            self._next.extend(task_id for task_id in due if task_id not in known)
            idle = min(LANES - self._lanes, len(self._next))
            self._lanes += idle
        for _ in range(idle):
            work.put(partial(self._go_on, work, own))

    def _is_first(self, task_id: str) -> bool:
        """Whether it is the worker's first word, as far as is remembered; no heartbeat any more."""
        with self._lock:
            self._due.pop(task_id, None)
            if task_id in self._heard:
                return False
            self._heard[task_id] = None
            if len(self._heard) > HEARD_KEPT:
                del self._heard[next(iter(self._heard))]
            return True

    def _forget(self, task_id: str) -> None:
        with self._lock:
            self._due.pop(task_id, None)

    def _put_off(self, task_id: str, seconds: float) -> None:
        """Let the next heartbeat be due in so many seconds, unless the worker has spoken."""
        with self._lock:
            if task_id in self._due:
                self._due[task_id] = time.monotonic() + seconds

    def _interval(self, task: ActivityTask) -> float:
        return self._intervals.get((task.domain, task.task_list), 0.0)

    def _watch(self, task: ActivityTask, seconds: float) -> None:
        if self._interval(task):
            with self._lock:
                if task.id not in self._heard:
                    self._due[task.id] = time.monotonic() + seconds

    # --- conversations with SWF ---

    async def _go_on(self, work: Work, own: Own) -> Settled:
        """One heartbeat; then the next, behind what workers have sent meanwhile."""
        with self._lock:
            if not self._next:
                self._lanes -= 1
                return []
            task_id = self._next.popleft()
        try:
            await self._beat(task_id, own)
        finally:
            work.put(partial(self._go_on, work, own))
        return []

    async def _beat(self, task_id: str, own: Own) -> None:
        entry = self._journal.get(task_id)
        if entry is None or entry.first_word:
            self._forget(task_id)
            return
        task = entry.task
        self._put_off(task_id, self._interval(task))
        if time.time() - task.polled_at > self._limit:
            log.warning("keepalive.ended", extra={"task": task_id, "seconds": self._limit})
            self._forget(task_id)
        else:
            await own(task_id, partial(self._beat_for, task))

    async def _beat_for(self, task: ActivityTask) -> None:
        try:
            if await self._swf.heartbeat(task.token, None):
                self._peers.cancel_requested(task.id)
        except TaskClosed:
            self._forget(task.id)
            self._peers.released(task.id, "closed in SWF")
        except BadReply as error:
            self._forget(task.id)
            log.warning("keepalive.refused", extra={"task": task.id, "error": error.detail})
        except Unavailable as error:
            self._put_off(task.id, min(RETRY, self._interval(task)))
            log.info("keepalive.put_off", extra={"task": task.id, "error": str(error)})

"""Heartbeats that the bridge sends for a queued task until its worker's first reply or heartbeat.

Off by default, because a task kept alive looks healthy while its worker is dead. If SWF answers
that the task is closed or that its cancellation is requested, that is passed on at once.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock

from bridge.errors import BadReply, TaskClosed, Unavailable
from bridge.flow.settling.peers import Peers
from bridge.journal.journal import Journal
from bridge.rabbitmq.consuming.delivery import Settled
from bridge.swf.client import Calls
from bridge.swf.runner import Conversation, JobQueue
from bridge.task import ActivityTask, TaskListId

log = logging.getLogger(__name__)

LOOK = 0.5
"""Seconds between two calls of ``look``. A heartbeat counts as due up to LOOK seconds early."""
LANES = 2
"""Maximum number of these heartbeats under way, so that workers' heartbeats do not wait long."""
HEARD_KEPT = 10_000
"""Maximum number of tasks remembered as taken over by their worker."""
RETRY = 5.0
"""Seconds until a heartbeat is retried after SWF could not be reached; or the interval, if less."""

Work = JobQueue[Callable[[], Conversation[Settled]]]
Own = Callable[[str, Callable[[], Conversation[None]]], Conversation[None]]
"""Runs a heartbeat of the bridge for a task, unless a worker's is under way (Heartbeats.own)."""


class Keepalive:
    """Sends heartbeats for tasks of the lists that enable it. Safe to use from many threads.

    Call ``look`` every LOOK seconds. ``intervals`` maps a task list to the seconds between two
    heartbeats, 0 for none. They end ``limit`` seconds after the poll. The journal records a
    worker's first word if any list enables heartbeats or ``mark`` is true.
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
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._swf = swf
        self._journal = journal
        self._peers = peers
        self._intervals = {name: seconds for name, seconds in intervals.items() if seconds}
        self._limit = limit
        self._monotonic = monotonic
        self._mark = mark or bool(self._intervals)
        self._lock = Lock()
        self._due: dict[str, float] = {}
        """Monotonic seconds of the next heartbeat, by task whose worker has not spoken yet."""
        self._heard: dict[str, None] = {}
        """Tasks whose worker has spoken, the oldest first."""
        self._next: deque[str] = deque()
        """Tasks whose heartbeat is due, in order."""
        self._lanes = 0

    @property
    def wanted(self) -> bool:
        """Whether any task list enables heartbeats by the bridge."""
        return bool(self._intervals)

    def __repr__(self) -> str:
        return f"<Keepalive {len(self._due)} tasks>"

    def resume(self) -> None:
        """Beat at once for tasks in the journal: the daemon may have been away for long."""
        for entry in self._journal.written("NOT first_word") if self._intervals else ():
            if time.time() - entry.task.polled_at <= self._limit:
                self._watch(entry.task, 0.0)

    def watch(self, task: ActivityTask) -> None:
        """Keep the task alive if its list enables that. Call this before publishing the task."""
        if interval := self._interval(task):
            self._watch(task, interval)

    def heard(self, task_id: str) -> None:
        """End the bridge's heartbeats for a task: its worker has sent a reply or heartbeat."""
        if not self._journal.holds(task_id):
            self._peers.spoke(task_id)
        elif self._mark and self._is_first(task_id):
            self._journal.first_word(task_id)

    def look(self, work: Work, own: Own) -> None:
        """Queue the heartbeats that are due, at most LANES at once.

        ``work`` is the queue of the threads that send heartbeats to SWF.
        """
        until = self._monotonic() + LOOK
        with self._lock:
            due = [task_id for task_id, when in self._due.items() if when <= until]
            known = set(self._next)
            self._next.extend(task_id for task_id in due if task_id not in known)
            idle = min(LANES - self._lanes, len(self._next))
            self._lanes += idle
        for _ in range(idle):
            work.put(partial(self._go_on, work, own))

    def _is_first(self, task_id: str) -> bool:
        """Drop the next heartbeat; return whether no earlier word of the worker is remembered."""
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
        """Make the next heartbeat due in ``seconds``, unless the worker has spoken."""
        with self._lock:
            if task_id in self._due:
                self._due[task_id] = self._monotonic() + seconds

    def _interval(self, task: ActivityTask) -> float:
        return self._intervals.get((task.domain, task.task_list), 0.0)

    def _watch(self, task: ActivityTask, seconds: float) -> None:
        if self._interval(task):
            with self._lock:
                if task.id not in self._heard:
                    self._due[task.id] = self._monotonic() + seconds

    # --- conversations with SWF ---

    async def _go_on(self, work: Work, own: Own) -> Settled:
        """Send one heartbeat, then queue the next behind the workers' heartbeats."""
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

"""Finds the time at which SWF times each task out, and checks tasks whose deadline has passed.

The answer to a poll does not contain the deadline. It comes from the workflow's history, or from
the time-outs registered with the type (``SWF_BRIDGE_DEADLINES``). In doubt the later time is used.
A task waits at most PATIENCE seconds for it. All times are by SWF's clock; ours may be minutes off.

A task past its deadline is neither published nor dropped until SWF's history has been read. If it
says that the task is closed, the slot is freed. If not, the task is published with the time left.
"""

import logging
import time
from collections.abc import Callable, Container, Mapping
from functools import partial
from threading import Lock

from bridge.errors import PartFailed, Refused, Unavailable
from bridge.flow.settling.peers import Peers
from bridge.flow.timeouts.activity_types import UNKNOWN, ActivityTypes, Kind
from bridge.flow.timeouts.budget import Budget
from bridge.journal.entry import Entry
from bridge.journal.journal import Journal
from bridge.rabbitmq.consuming.delivery import Settled
from bridge.swf.client import Calls
from bridge.swf.clock import SwfClock
from bridge.swf.history import Look
from bridge.swf.runner import Conversation, JobQueue
from bridge.task import ActivityTask, Deadline, TaskListId, Timeouts
from bridge.telemetry import metrics as m
from bridge.telemetry.registry import Metrics
from bridge.threads.timer import Timer

log = logging.getLogger(__name__)

PATIENCE = 0.7
"""Maximum seconds for which a task waits for its deadline before it is published."""
MARGIN = 2.0
"""Seconds for which a message stays in a queue beyond its deadline, so that SWF times out first."""
ROUNDED = 1.0
"""Seconds by which SWF's ``Date`` header may be behind SWF's clock: it has whole seconds."""
ROUND = 1.0
"""Seconds between two calls of ``look``."""
RETRY = 5.0
SELDOM = 60.0
"""Seconds until SWF is asked again about a task: RETRY if SWF could not be reached or is late to
time out, SELDOM if the part of the history that was read does not tell."""
NEVER = Deadline()

Then = Callable[[Deadline], object]


class _Search:
    """A task that waits for its deadline; ``then`` is called with it, once."""

    def __init__(self, task: ActivityTask, then: Then) -> None:
        self.task = task
        self.then = then
        self._ended = Lock()

    @property
    def ended(self) -> bool:
        """Whether ``then`` was called, or is being called."""
        return self._ended.locked()

    def end(self) -> bool:
        """End the search; return whether this is the first call."""
        return self._ended.acquire(blocking=False)


class Deadlines:
    """Finds and checks the deadlines of tasks. Safe to use from many threads.

    ``modes`` maps a task list to ``off``, ``type`` or ``history``. For lists in ``kept_alive`` the
    heartbeat time-out is ignored. ``work`` is the queue of the threads that call SWF. Call ``look``
    every ROUND seconds.
    """

    def __init__(
        self,
        swf: Calls,
        journal: Journal,
        peers: Peers,
        *,
        clock: SwfClock,
        timer: Timer,
        metrics: Metrics,
        modes: Mapping[TaskListId, str],
        kept_alive: Container[TaskListId] = (),
        calls: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.work: JobQueue[Callable[[], Conversation[None]]] = JobQueue()
        self.budget = Budget(calls, monotonic)
        """The budget of reads of workflow histories."""
        self.wanted = any(mode != "off" for mode in modes.values())
        """Whether any task list enables deadlines."""
        self._swf = swf
        self._clock = clock
        self._journal = journal
        self._peers = peers
        self._timer = timer
        self._metrics = metrics
        self._modes = modes
        self._kept_alive = kept_alive
        self._types = ActivityTypes(swf, journal, monotonic)
        self._monotonic = monotonic
        self._forward: Callable[[ActivityTask, bytes], object] = _nobody
        self._searches: set[_Search] = set()
        """Needs no lock: only single adds and discards, never iterated."""
        self._lock = Lock()
        """Guards the next three: the timer's thread iterates them while others change them."""
        self._urgent: dict[str, None] = {}
        """Tasks to ask SWF about: expired before publishing or in RabbitMQ, or to ask again."""
        self._put_off: dict[str, float] = {}
        """Monotonic seconds before which SWF is not asked again, by task."""
        self._asking: set[str] = set()
        self._behind = False
        """Whether the budget was too small for all tasks past their deadline."""

    def __repr__(self) -> str:
        return f"<Deadlines {self.budget!r}, {len(self._urgent)} expired>"

    @property
    def searching(self) -> bool:
        """Whether any task waits for its deadline."""
        return bool(self._searches)

    def watch(self, forward: Callable[[ActivityTask, bytes], object]) -> None:
        """Set the function that publishes a task found to be open. It must not block."""
        self._forward = forward

    def let_go(self, task: ActivityTask, how: str) -> bool:
        """Free the slot of a task that SWF closed without a reply; whether it was held here."""
        at = (self._journal.deadlines.get(task.id) or NEVER).at
        if self._peers.released(task.id, how) is None:
            return False
        if at is not None and self.is_past(at):
            self._metrics.count(m.TASKS_EXPIRED, task.domain, task.task_list)
            log.debug("task.expired", extra={"task": task.id, "reason": how})
        return True

    def look_at(self, task: ActivityTask, look: Look) -> None:
        """Learn the task's time-outs from a read of its history."""
        if look.timeouts is not None:
            self._types.saw(_kind(task), look.timeouts)

    async def carry_out(self, work: Callable[[], Conversation[None]]) -> Settled:
        """Run one conversation of ``work``, which settles no delivery.

        Errors are logged. Raises only PartFailed, when the journal is damaged.
        """
        try:
            await work()
        except PartFailed:
            raise
        except Exception as error:
            log.exception("deadline.unexpected", extra={"error": type(error).__name__})
        return []

    # --- before a task is published ---

    def find(self, task: ActivityTask, then: Then) -> None:
        """Call ``then``, which must not block, with the task's deadline.

        It is called at once, or within PATIENCE seconds on another thread.
        """
        mode = self._modes.get((task.domain, task.task_list), "off")
        known = NEVER if mode == "off" else self._journal.deadlines.get(task.id)
        if known is not None:
            then(known)
            return
        search = _Search(task, then)
        self._searches.add(search)
        if mode == "history" and self.budget.take(self.budget.calls // 2 if self._behind else 0):
            self.work.put(partial(self._by_history, search))
        else:
            self._by_type(search)
        if not search.ended:
            self._timer.later(PATIENCE, partial(self._out_of_time, search))

    def limits(self, deadline: Deadline) -> tuple[float | None, float | None]:
        """The deadline in seconds by SWF's clock, and the message's expiry in monotonic seconds."""
        at = deadline.at
        if at is None or (now := self._clock.now()) is None:
            return at, None
        self._metrics.observe(m.SECONDS_LEFT, max(0.0, at - now))
        return at, self._monotonic() + at + MARGIN - now

    async def _by_history(self, search: _Search) -> None:
        """Use the task's own time-outs, or those of its type if its history does not tell."""
        task, look = search.task, Look()
        try:
            look = await self._swf.look(task, pages=1)
        except Unavailable as error:
            log.info("deadline.put_off", extra={"task": task.id, "error": str(error)})
        self.look_at(task, look)
        if look.deadline is not None:
            self._found(search, look.deadline)
        else:
            self._by_type(search)

    def _by_type(self, search: _Search) -> None:
        """Use the time-outs of the task's type, from the cache or after a call to SWF."""
        kind = _kind(search.task)
        timeouts = self._types.known(kind)
        if timeouts is not None:
            self._found_type(search, timeouts)
            return
        asked = self._types.wait(kind, partial(self._found_type, search))
        if not asked:
            self.work.put(partial(self._types.ask, kind))
        elif asked > PATIENCE:
            self._found_type(search, UNKNOWN)

    def _out_of_time(self, search: _Search) -> None:
        self._found_type(search, self._types.known(_kind(search.task)) or UNKNOWN)

    def _found_type(self, search: _Search, timeouts: Timeouts) -> None:
        """Assume the latest times of schedule and start: when SWF wrote the answer to the poll."""
        given_at = search.task.given_at
        if given_at is None:
            self._found(search, NEVER)
        else:
            at_latest = given_at + ROUNDED
            self._found(search, timeouts.deadline(at_latest, at_latest))

    def _found(self, search: _Search, deadline: Deadline) -> None:
        if not search.end():
            return
        task = search.task
        if (task.domain, task.task_list) in self._kept_alive:
            deadline = deadline.after_first_word
        self._journal.expires(task.id, deadline)
        try:
            search.then(deadline)
        finally:
            self._searches.discard(search)

    # --- once its deadline is past ---

    def expired(self, task_id: str) -> None:
        """Have the next ``look`` ask SWF about an unanswered task past its deadline."""
        with self._lock:
            self._urgent[task_id] = None

    def is_past(self, deadline: float) -> bool:
        """Whether SWF's clock has reached ``deadline``; True if the clock is not known."""
        now = self._clock.now()
        return now is None or deadline <= now

    def dropped(self, task_id: str) -> None:
        """Have SWF asked about a task whose message expired in RabbitMQ, by its holder."""
        if self._journal.holds(task_id):
            self._journal.owe(task_id)
            self.expired(task_id)
        elif not self._journal.was_settled(task_id):
            self._peers.dropped(task_id)

    def look(self) -> None:
        """Queue calls to SWF about tasks past their deadline, as far as the budget allows."""
        now = self._clock.now()
        overdue = [] if now is None else self._journal.deadlines.before(now - MARGIN)
        self._behind = False
        with self._lock:
            gone = [each for each in self._put_off if not self._journal.holds(each)]
            for task_id in gone:
                del self._put_off[task_id]
            asked_for = dict.fromkeys([*self._urgent, *overdue])
        for task_id in asked_for:
            if not self._may_ask(task_id):
                continue
            if not self.budget.take():
                self._behind = True
                return
            with self._lock:
                self._asking.add(task_id)
            self.work.put(partial(self._ask, task_id))

    def _may_ask(self, task_id: str) -> bool:
        """Whether to ask SWF about the task now; a settled task is forgotten."""
        with self._lock:
            if not self._journal.holds(task_id):
                self._urgent.pop(task_id, None)
                return False
            waits = self._put_off.get(task_id, 0.0) > self._monotonic()
            return not waits and task_id not in self._asking

    async def _ask(self, task_id: str) -> None:
        with self._lock:
            self._urgent.pop(task_id, None)
        try:
            if (entry := self._journal.get(task_id)) is not None:
                await self._ask_about(entry)
        except Unavailable as error:
            log.info("deadline.put_off", extra={"task": task_id, "error": str(error)})
            self._ask_later(task_id)
        finally:
            with self._lock:
                self._asking.discard(task_id)

    def _ask_later(self, task_id: str, seconds: float = RETRY) -> None:
        with self._lock:
            self._put_off[task_id] = self._monotonic() + seconds
            self._urgent[task_id] = None

    async def _ask_about(self, entry: Entry) -> None:
        task = entry.task
        try:
            look = await self._swf.look(task, pages=1)
        except Refused:
            if entry.published:
                raise
            look = Look()  # reading histories is not permitted: publish without a deadline
        self.look_at(task, look)
        if look.closed is None:
            self._still_open(entry, look)
        else:
            self.let_go(task, look.closed)

    def _still_open(self, entry: Entry, look: Look) -> None:
        """Publish an open task again, if it was not published or its message expired too early."""
        task_id, now = entry.task.id, self._clock.now() or 0.0
        if not look.whole and entry.published:  # the reconciler reads on
            with self._lock:
                self._put_off[task_id] = self._monotonic() + SELDOM
            return
        deadline = look.deadline or NEVER
        if deadline.beat_by is not None and deadline.beat_by + MARGIN <= now:
            deadline = deadline.after_first_word  # still open, so a worker has sent a heartbeat
        if deadline.at is not None and deadline.at + MARGIN <= now:  # SWF is late to time it out
            self._ask_later(task_id)
            return
        before = self._journal.deadlines.get(task_id) or NEVER
        too_early = before.close_by is not None and before.close_by + MARGIN <= now
        self._journal.expires(task_id, deadline)
        if not entry.published or (too_early and not entry.first_word):
            self._forward(entry.task, entry.body)


def _kind(task: ActivityTask) -> Kind:
    return task.domain, task.name, task.version


def _nobody(task: ActivityTask, body: bytes) -> None:
    """The default of ``_forward`` until ``watch`` is called: do nothing."""

"""Forward: slot → poll → record → hand over. N identical pollers a task list, side by side.

With libcurl they share a thread, with boto3 each has its own. Law: after a poll has returned a
task, every path publishes it and has it confirmed, fails it back, or leaves it in the journal.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from bridge.backoff import Backoff
from bridge.errors import Refused, Unavailable
from bridge.journal.slots import Window
from bridge.message import encode_task
from bridge.swf.runner import Conversation, Line
from bridge.task import ActivityTask, TaskListId
from bridge.telemetry import metrics as m
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.outage import Outage

log = logging.getLogger(__name__)

TICK = 1.0
PACE = 0.4
"""Seconds that an empty poll takes at least: some endpoints answer at once."""
BACKOFF_CAP = 30.0
REFUSED_CAP = 60.0
PATIENCE = 20.0
"""Seconds that the thread may take beyond a poll before it counts as stuck."""


Polled = tuple[ActivityTask, bytes]
"""A task that is recorded, with the body of its message: to be handed over."""


class Polls(Protocol):
    """The one call of SWF that a poller makes."""

    def poll(self, domain: str, task_list: str) -> Conversation[ActivityTask | None]:
        """One long poll."""


class Record(Protocol):
    """Where a task is written down before anything else."""

    writable: threading.Event

    def record(self, task: ActivityTask, body: bytes) -> None:
        """From now on the task is owed."""


class Gate(Protocol):
    """Whether the list's workers want tasks."""

    why: str
    """Why they do not; nothing where they do."""

    def wait(self, timeout: float) -> bool:
        """Whether they do, after waiting so many seconds for it."""


class Source:
    """A task list, and what its pollers share: when it may be polled, and how polling goes."""

    def __init__(
        self,
        label: TaskListId,
        *,
        broker_ready: threading.Event,
        journal: Record,
        demand: Gate | None = None,
    ) -> None:
        self.label = label
        self.last_poll = 0.0
        """Seconds since the epoch when SWF last answered a poll."""
        self.refused = _outage(label, "poll.refused", "poll.accepted")
        self.failing = _outage(label, "poll.failing", "poll.back")
        self._gates = (
            ("RabbitMQ is away or blocked", broker_ready),
            ("the journal cannot be written", journal.writable),
        )
        self._demand = demand

    def __repr__(self) -> str:
        return f"<Source {'/'.join(self.label)}>"

    def closed_gate(self, timeout: float = 0.0) -> str:
        """Why no task may be taken now, after waiting so long for it to pass; else nothing."""
        for why, gate in self._gates:
            if not gate.is_set() and not gate.wait(timeout):
                return why
        if self._demand is not None and not self._demand.wait(timeout):
            return self._demand.why
        return ""


def _outage(label: TaskListId, lost: str, back: str) -> Outage:
    domain, task_list = label
    action = "swf:PollForActivityTask"
    return Outage(log, lost, back, domain=domain, task_list=task_list, action=action)


class Poller:
    """One of the pollers of a task list: one poll at a time."""

    def __init__(self, source: Source, swf: Polls, metrics: Metrics) -> None:
        self.label = source.label
        self.state = "starting"
        """What it is at, in words for an operator."""
        self.due = 0.0
        """Monotonic seconds before which it does not poll again."""
        self._source = source
        self._swf = swf
        self._metrics = metrics
        self._backoff = Backoff(cap=BACKOFF_CAP)
        self._seldom = Backoff(first=1.0, cap=REFUSED_CAP)

    def __repr__(self) -> str:
        return f"<Poller of {'/'.join(self.label)} {self.state}>"

    async def poll_once(self) -> ActivityTask | None:
        """One poll: the task that it brought, if any. Says when the next is due."""
        self.state = "polling"
        started = time.monotonic()
        try:
            task = await self._swf.poll(*self.label)
        except Unavailable as error:
            self.due = time.monotonic() + self._failed(error)
            return None
        self.due = 0.0 if task else started + PACE
        self._answered("task" if task else "empty")
        return task

    def _answered(self, outcome: str) -> None:
        source = self._source
        source.last_poll = time.time()
        source.refused.end()
        source.failing.end()
        self._backoff.reset()
        self._seldom.reset()
        self._metrics.count(m.POLLS, *source.label, outcome)

    def _failed(self, error: Unavailable) -> float:
        """The seconds to wait before the next poll."""
        source = self._source
        self._metrics.count(m.POLLS, *source.label, "error")
        if isinstance(error, Refused):
            self.state = f"refused by SWF: {error}"
            source.refused.begin(error)
            return self._seldom.next()
        self.state = f"failing: {error}"
        source.failing.begin(error)
        return self._backoff.next()


class Pollers:
    """A part: a thread with those pollers of one task list that its line has room for.

    ``hand_over`` is given each task with its body once it is recorded, and must not block.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        pollers: Sequence[Poller],
        *,
        line: Callable[[Callable[[Polled | None], object]], Line[Polled | None]],
        window: Window,
        journal: Record,
        hand_over: Callable[[ActivityTask, bytes], object],
        metrics: Metrics,
        read_timeout: float,
        scope: Callable[[ActivityTask], AbstractContextManager[None]] = lambda task: nullcontext(),
    ) -> None:
        self.name = name
        self.pollers = pollers
        self.moved = time.monotonic()
        self.patience = read_timeout + PATIENCE
        self._source = source
        self._label = source.label
        self._line = line(self._taken)
        self._window = window
        self._journal = journal
        self._hand_over = hand_over
        self._metrics = metrics
        self._scope = scope
        self._idle = deque(pollers)
        self._stopping = threading.Event()
        self._wants_slot = False
        window.watch(self._label, self._slot_freed)

    def __repr__(self) -> str:
        return f"<Pollers {self.name}, {self._line.open} polls>"

    def run(self) -> None:
        """Poll until asked to stop; open polls end by themselves, their tasks are handed over.

        So they do where something unforeseen ends it.
        """
        try:
            while not self._stopping.is_set():
                self.turn()
        finally:
            self._stopping.set()
            while self._line.open:
                self.turn()
            for poller in self.pollers:
                poller.state = "stopped"

    def stop(self) -> None:
        """Let no new poll begin."""
        self._stopping.set()
        self._line.wake()

    def turn(self) -> None:
        """Begin the polls that are due, as far as gates and slots allow, and take what comes."""
        self.moved = time.monotonic()
        pause = self._begin()
        if self._line.open:
            self._line.turn(pause)
        elif pause > 0:
            self._stopping.wait(pause)

    def _begin(self) -> float:
        """Seconds until there may be more to begin; a gate or slot was waited for, or wakes us."""
        now, pause = time.monotonic(), TICK
        for _ in range(len(self._idle)):
            poller = self._idle.popleft()
            if poller.due > now:
                pause = min(pause, poller.due - now)
                self._idle.append(poller)
            elif why := self._obstacle(0.0 if self._line.open else TICK):
                self._idle.appendleft(poller)
                self._tell(why, now)
                return TICK if self._line.open else 0.0
            else:
                self._line.begin(self._poll(poller))
        return pause

    def _obstacle(self, patience: float) -> str:
        """Why no poll may begin, after waiting so long for it to pass; else a slot is taken."""
        if self._stopping.is_set():
            return "stopping"
        if why := self._source.closed_gate(patience):
            return why
        self._wants_slot = True  # before the try: what comes free after it wakes us
        if not self._window.acquire(self._label, patience):
            return "every slot is taken"
        self._wants_slot = False
        if why := self._source.closed_gate():  # closed while the slot was waited for
            self._window.give_back(self._label)
        return why

    def _tell(self, why: str, now: float) -> None:
        for poller in self._idle:
            if poller.due <= now:
                poller.state = why

    def _slot_freed(self) -> None:
        if self._wants_slot:
            self._line.wake()

    async def _poll(self, poller: Poller) -> Polled | None:
        """A poll with a slot in hand: it goes to the task, or back."""
        task = None
        try:
            task = await poller.poll_once()
        finally:
            self._idle.append(poller)
            if task is None:
                self._window.give_back(self._label)
        return None if task is None else self._recorded(task)

    def _recorded(self, task: ActivityTask) -> Polled:
        """First of all: until the task is recorded, it is nowhere."""
        self._window.fill(self._label, task.id)
        polled = task, encode_task(task)
        try:
            self._journal.record(*polled)
        except BaseException:
            self._taken(polled)
            raise
        return polled

    def _taken(self, polled: Polled | None) -> None:
        if polled is None:
            return
        task, body = polled
        with self._scope(task):
            self._hand_over(task, body)
        self._metrics.count(m.TASKS_POLLED, *self._label)
        log.debug("task.polled", extra={"task": task.id, "activity": task.name})

"""Forward: slot → poll → record → hand over. N identical pollers a task list, each a thread.

Law: after a poll has returned a task, every path publishes it and has it confirmed, fails it back,
or leaves it in the journal.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from bridge import metrics as m
from bridge.backoff import Backoff
from bridge.errors import Refused, Unavailable
from bridge.message import encode_task
from bridge.metrics import Metrics
from bridge.outage import Outage
from bridge.task import ActivityTask
from bridge.window import Label, Window

log = logging.getLogger(__name__)

TICK = 1.0
PACE = 0.4
"""Seconds that an empty poll takes at least: some endpoints answer at once."""
BACKOFF_CAP = 30.0
REFUSED_CAP = 60.0
PATIENCE = 20.0
"""Seconds that a poller may take beyond its poll before it counts as stuck."""


class Polls(Protocol):
    """The one call of SWF that a poller makes."""

    def poll(self, domain: str, task_list: str) -> ActivityTask | None:
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
        label: Label,
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
            if not gate.wait(timeout):
                return why
        if self._demand is not None and not self._demand.wait(timeout):
            return self._demand.why
        return ""


def _outage(label: Label, lost: str, back: str) -> Outage:
    domain, task_list = label
    action = "swf:PollForActivityTask"
    return Outage(log, lost, back, domain=domain, task_list=task_list, action=action)


class Poller:
    """A part: one thread that polls one task list, one poll at a time."""

    def __init__(
        self,
        name: str,
        source: Source,
        *,
        swf: Polls,
        window: Window,
        journal: Record,
        hand_over: Callable[[ActivityTask, bytes], object],
        metrics: Metrics,
        read_timeout: float,
        scope: Callable[[ActivityTask], AbstractContextManager[None]] = lambda task: nullcontext(),
    ) -> None:
        self.name = name
        self.label = source.label
        self.state = "starting"
        """What it is at, in words for an operator."""
        self.moved = time.monotonic()
        self.patience = read_timeout + PATIENCE
        self._source = source
        self._swf = swf
        self._window = window
        self._journal = journal
        self._hand_over = hand_over
        self._metrics = metrics
        self._scope = scope
        self._stopping = threading.Event()
        self._backoff = Backoff(cap=BACKOFF_CAP)
        self._seldom = Backoff(first=1.0, cap=REFUSED_CAP)

    def __repr__(self) -> str:
        return f"<Poller {self.name} {self.state}>"

    def run(self) -> None:
        """Poll until asked to stop; an open poll ends by itself, and its task is handed over."""
        while not self._stopping.is_set():
            self._pause(self.poll_once())
        self.state = "stopped"

    def stop(self) -> None:
        """Let no new poll begin."""
        self._stopping.set()

    def poll_once(self) -> float:
        """One turn: seconds to wait before the next."""
        self.moved = time.monotonic()
        if why := self._source.closed_gate(TICK):
            self.state = why
            return 0.0
        if not self._window.acquire(self._source.label, TICK):
            self.state = "every slot is taken"
            return 0.0
        if self._stopping.is_set() or self._source.closed_gate():
            self._window.give_back(self._source.label)
            return 0.0
        return self._poll()

    def _poll(self) -> float:
        """With a slot in hand: it goes to the task, or back."""
        label = self._source.label
        self.state = "polling"
        self.moved = started = time.monotonic()
        task = None
        try:
            task = self._swf.poll(*label)
        except Unavailable as error:
            return self._failed(error)
        finally:
            if task is None:
                self._window.give_back(label)
        if task is not None:
            self._take(task)  # first of all: until it is recorded, it is nowhere
        self._answered("task" if task else "empty")
        return 0.0 if task else PACE - (time.monotonic() - started)

    def _take(self, task: ActivityTask) -> None:
        self._window.fill(self._source.label, task.id)
        body = encode_task(task)
        try:
            self._journal.record(task, body)
        finally:
            with self._scope(task):
                self._hand_over(task, body)
        self._metrics.count(m.TASKS_POLLED, *self._source.label)
        log.debug("task.polled", extra={"task": task.id, "activity": task.name})

    def _answered(self, outcome: str) -> None:
        source = self._source
        source.last_poll = time.time()
        source.refused.end()
        source.failing.end()
        self._backoff.reset()
        self._seldom.reset()
        self._metrics.count(m.POLLS, *source.label, outcome)

    def _failed(self, error: Unavailable) -> float:
        source = self._source
        self._metrics.count(m.POLLS, *source.label, "error")
        if isinstance(error, Refused):
            self.state = f"refused by SWF: {error}"
            source.refused.begin(error)
            return self._seldom.next()
        self.state = f"failing: {error}"
        source.failing.begin(error)
        return self._backoff.next()

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.moved = time.monotonic()
            if self._stopping.wait(min(left, TICK)):
                return

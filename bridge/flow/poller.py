"""Forward: slot → poll → record → hand over. N identical pollers a task list, side by side.

With libcurl they share a thread, with boto3 each has its own. Law: after a poll has returned a
task, every path publishes it and has it confirmed, fails it back, or leaves it in the journal.
"""

import logging
import threading
import time
from collections import deque
from typing import NamedTuple

from bridge.errors import Refused, Unavailable
from bridge.flow.forwarder import Forwarder
from bridge.flow.keepalive import Keepalive
from bridge.flow.obstacle import Obstacle, PollerState
from bridge.journal.journal import Journal
from bridge.journal.pauses import Pause, Pauses
from bridge.journal.slots import Slots
from bridge.message.tasks import encode_task
from bridge.rabbitmq.demand import Demand
from bridge.rabbitmq.publisher import Publisher
from bridge.scheduling.backoff import Backoff
from bridge.swf.client import Calls, Swf
from bridge.task import ActivityTask, TaskListId
from bridge.telemetry import metrics as m
from bridge.telemetry import sentry
from bridge.telemetry.outage import Outage
from bridge.telemetry.registry import Metrics

log = logging.getLogger(__name__)

TICK = 1.0
PACE = 0.4
"""Seconds that an empty poll takes at least: some endpoints answer at once."""
BACKOFF_CAP = 30.0
REFUSED_CAP = 60.0
PATIENCE = 20.0
"""Seconds that the thread may take beyond a poll before it counts as stuck."""


class Recorded(NamedTuple):
    """A task that is recorded, with the body of its message."""

    task: ActivityTask
    body: bytes


_SLOTS_TAKEN = Obstacle(PollerState.WINDOW_FULL, "every slot is taken")
_BROKER_AWAY = Obstacle(PollerState.BROKER_AWAY, "RabbitMQ is away or blocked")
_JOURNAL = Obstacle(PollerState.JOURNAL, "the journal cannot be written")
_STOPPING = Obstacle(PollerState.STOPPED, "stopping")


class Source:
    """A task list, and what its pollers share: when it may be polled, and how polling goes."""

    def __init__(
        self,
        name: TaskListId,
        *,
        publisher: Publisher,
        journal: Journal,
        pauses: Pauses,
        demand: Demand | None = None,
    ) -> None:
        self.label = name
        self.last_poll = 0.0
        """Seconds since the epoch when SWF last answered a poll."""
        self.refused = _outage(name, "poll.refused", "poll.accepted")
        self.failing = _outage(name, "poll.failing", "poll.back")
        self._gates = ((_BROKER_AWAY, publisher.ready), (_JOURNAL, journal.writable))
        self._journal = journal
        self._pauses = pauses
        self.demand = demand
        """Of workers, where the list names a queue."""

    def __repr__(self) -> str:
        return f"<Source {'/'.join(self.label)}>"

    @property
    def pause(self) -> Pause | None:
        """An operator's, where one has paused the list."""
        return self._pauses.of(self.label)

    def obstacle(self, timeout: float = 0.0) -> Obstacle | None:
        """Why no task may be taken now, after waiting ``timeout`` seconds for it to pass."""
        pause = self.pause
        if pause is not None and not pause.over.wait(timeout):
            return Obstacle(PollerState.PAUSED, pause.text)
        self._journal.look()
        for why, gate in self._gates:
            if not gate.is_set() and not gate.wait(timeout):
                return why
        if self.demand is not None and not self.demand.wait(timeout):
            return Obstacle(PollerState.NO_DEMAND, self.demand.why)
        return None


def _outage(name: TaskListId, lost: str, back: str) -> Outage:
    domain, task_list = name
    action = "swf:PollForActivityTask"
    return Outage(log, lost, back, domain=domain, task_list=task_list, action=action)


class Poller:
    """One of the pollers of a task list: one poll at a time."""

    def __init__(self, source: Source, swf: Calls, metrics: Metrics) -> None:
        self.label = source.label
        self.state = PollerState.STARTING
        self.text = PollerState.STARTING.value
        """What it is at, in words for an operator."""
        self.due = 0.0
        """Monotonic seconds before which it does not poll again."""
        self._source = source
        self._swf = swf
        self._metrics = metrics
        self._backoff = Backoff(cap=BACKOFF_CAP)
        self._seldom = Backoff(first=1.0, cap=REFUSED_CAP)

    def __repr__(self) -> str:
        return f"<Poller of {'/'.join(self.label)} {self.text}>"

    def be(self, state: PollerState, text: str = "") -> None:
        """Note what it is at."""
        self.state, self.text = state, text or state.value

    async def poll_once(self) -> ActivityTask | None:
        """One poll: the task that it brought, if any. Says when the next is due."""
        self.be(PollerState.POLLING)
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
            self.be(PollerState.REFUSED, f"refused by SWF: {error}")
            source.refused.begin(error)
            return self._seldom.next()
        self.be(PollerState.FAILING, f"failing: {error}")
        source.failing.begin(error)
        return self._backoff.next()


class Pollers:
    """A part: a thread with ``room`` pollers of one task list."""

    def __init__(
        self,
        name: str,
        source: Source,
        room: int,
        *,
        swf: Swf,
        slots: Slots,
        journal: Journal,
        keepalive: Keepalive,
        forwarder: Forwarder,
        metrics: Metrics,
        read_timeout: float,
    ) -> None:
        self.name = name
        self.pollers = [Poller(source, swf.calls, metrics) for _ in range(room)]
        self.moved = time.monotonic()
        self.patience = read_timeout + PATIENCE
        self._source = source
        self._label = source.label
        self._slots = slots
        self._journal = journal
        self._keepalive = keepalive
        self._forwarder = forwarder
        self._metrics = metrics
        self._runner = swf.runner(room, self._hand_over, journal.together, held=True)
        self._idle = deque(self.pollers)
        self._stopping = threading.Event()
        self._wants_slot = False
        slots.watch(self._label, self._slot_freed)

    def __repr__(self) -> str:
        return f"<Pollers {self.name}, {self._runner.open} polls>"

    # --- the first law: slot, poll, record, hand over ---

    async def _poll(self, poller: Poller) -> Recorded | None:
        """Poll with a slot in hand, and record the task that the poll brings, first of all.

        The slot goes to the task, or back. The answers that come in one turn are taken inside of
        one ``journal.together()``: when that block ends, their records are committed, and only then
        is ``_hand_over`` called with what is returned here. Until the commit a task is nowhere but
        in this process, so nothing may come before it.
        """
        task = None
        try:
            task = await poller.poll_once()
        finally:
            self._idle.append(poller)
            if task is None:
                self._slots.give_back(self._label)
        if task is None:
            return None
        self._slots.fill(self._label, task.id)
        recorded = Recorded(task, encode_task(task))
        try:
            self._journal.record(*recorded)
        except BaseException:  # it cannot be recorded: better handed over than lost
            self._hand_over(recorded)
            raise
        return recorded

    def _hand_over(self, recorded: Recorded | None) -> None:
        """The task is durable: have it kept alive, if its list asks for that, and published."""
        if recorded is None:
            return
        task, body = recorded
        with sentry.task_scope(task.domain, task.task_list, task.name):
            self._keepalive.watch(task)
            self._forwarder.forward(task, body)
        self._metrics.count(m.TASKS_POLLED, *self._label)
        log.debug("task.polled", extra={"task": task.id, "activity": task.name})

    # --- when a poll may begin ---

    def run(self) -> None:
        """Poll until asked to stop; open polls end by themselves, their tasks are handed over.

        So they do where something unforeseen ends it.
        """
        try:
            while not self._stopping.is_set():
                self.turn()
        finally:
            self._stopping.set()
            while self._runner.open:
                self.turn()
            for poller in self.pollers:
                poller.be(PollerState.STOPPED)

    def stop(self) -> None:
        """Let no new poll begin."""
        self._stopping.set()
        self._runner.wake()

    def turn(self) -> None:
        """Begin the polls that are due, as far as gates and slots allow, and take what comes."""
        self.moved = time.monotonic()
        pause = self._begin()
        if self._runner.open:
            self._runner.turn(pause)
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
            elif obstacle := self._take_slot(0.0 if self._runner.open else TICK):
                self._idle.appendleft(poller)
                for each in self._idle:
                    if each.due <= now:
                        each.be(*obstacle)
                return TICK if self._runner.open else 0.0
            else:
                self._runner.begin(self._poll(poller))
        return pause

    def _take_slot(self, patience: float) -> Obstacle | None:
        """Take a slot for a poll; or why none may begin, after waiting so long for it to pass."""
        if self._stopping.is_set():
            return _STOPPING
        if obstacle := self._source.obstacle(patience):
            return obstacle
        self._wants_slot = True  # before the try: what comes free after it wakes us
        if not self._slots.acquire(self._label, patience):
            return _SLOTS_TAKEN
        self._wants_slot = False
        if obstacle := self._source.obstacle():  # it came up while the slot was waited for
            self._slots.give_back(self._label)
        return obstacle

    def _slot_freed(self) -> None:
        if self._wants_slot:
            self._runner.wake()

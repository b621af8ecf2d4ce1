"""Polls SWF: take a slot, poll, record the task in the journal, hand it to the forwarder.

Each task list has N identical pollers. With libcurl they share a thread, with boto3 each has its
own. After a poll has returned a task, every path publishes it with a confirm, fails it in SWF, or
leaves it in the journal.
"""

import logging
import threading
import time
from collections import deque
from typing import NamedTuple

from bridge.errors import Refused, Unavailable
from bridge.flow.forwarder import Forwarder
from bridge.flow.heartbeats.keepalive import Keepalive
from bridge.flow.obstacle import Obstacle, PollerState
from bridge.journal.journal import Journal
from bridge.journal.pauses import Pause, Pauses
from bridge.journal.slots import Slots
from bridge.message.message import encode_task
from bridge.rabbitmq.demand import Demand
from bridge.rabbitmq.publisher import Publisher
from bridge.swf.client import Calls, Swf
from bridge.task import ActivityTask, TaskListId
from bridge.telemetry import metrics as m
from bridge.telemetry import sentry
from bridge.telemetry.outage import Outage
from bridge.telemetry.registry import Metrics
from bridge.threads.backoff import Backoff

log = logging.getLogger(__name__)

TICK = 1.0
PACE = 0.4
"""Minimum seconds between the starts of two polls if the first is empty: some endpoints answer
empty polls at once."""
BACKOFF_CAP = 30.0
REFUSED_CAP = 60.0
PATIENCE = 20.0
"""Seconds beyond the read time-out after which the thread counts as stuck."""


class Recorded(NamedTuple):
    """A recorded task and the body of its message."""

    task: ActivityTask
    body: bytes


_SLOTS_TAKEN = Obstacle(PollerState.WINDOW_FULL, "every slot is taken")
_BROKER_AWAY = Obstacle(PollerState.BROKER_AWAY, "RabbitMQ is away or blocked")
_JOURNAL = Obstacle(PollerState.JOURNAL, "the journal cannot be written")
_STOPPING = Obstacle(PollerState.STOPPED, "stopping")


class Source:
    """A task list: the conditions and the outages that its pollers share."""

    def __init__(
        self,
        name: TaskListId,
        *,
        publisher: Publisher,
        journal: Journal,
        pauses: Pauses,
        demand: Demand | None = None,
    ) -> None:
        self.task_list_id = name
        self.last_poll = 0.0
        """Seconds since the epoch when SWF last answered a poll."""
        self.refused = _outage(name, "poll.refused", "poll.accepted")
        self.failing = _outage(name, "poll.failing", "poll.back")
        self._gates = ((_BROKER_AWAY, publisher.ready), (_JOURNAL, journal.writable))
        self._journal = journal
        self._pauses = pauses
        self.demand = demand
        """Whether workers consume the list's queue; None if the list names no queue."""

    def __repr__(self) -> str:
        return f"<Source {'/'.join(self.task_list_id)}>"

    @property
    def pause(self) -> Pause | None:
        """The operator's pause of this list, if any."""
        return self._pauses.of(self.task_list_id)

    def obstacle(self, timeout: float = 0.0) -> Obstacle | None:
        """The reason not to poll now, or None; waits up to ``timeout`` seconds for each to end."""
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
        self.task_list_id = source.task_list_id
        self.state = PollerState.STARTING
        self.text = PollerState.STARTING.value
        """The state in words for an operator."""
        self.due = 0.0
        """Monotonic seconds before which it does not poll again."""
        self._source = source
        self._swf = swf
        self._metrics = metrics
        self._backoff = Backoff(cap=BACKOFF_CAP)
        self._seldom = Backoff(first=1.0, cap=REFUSED_CAP)

    def __repr__(self) -> str:
        return f"<Poller of {'/'.join(self.task_list_id)} {self.text}>"

    def be(self, state: PollerState, text: str = "") -> None:
        """Set the state."""
        self.state, self.text = state, text or state.value

    async def poll_once(self) -> ActivityTask | None:
        """Poll once and set ``due``; return the task, or None if there was none or it failed."""
        self.be(PollerState.POLLING)
        started = time.monotonic()
        try:
            task = await self._swf.poll(*self.task_list_id)
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
        self._metrics.count(m.POLLS, *source.task_list_id, outcome)

    def _failed(self, error: Unavailable) -> float:
        """The seconds to wait before the next poll."""
        source = self._source
        self._metrics.count(m.POLLS, *source.task_list_id, "error")
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
        self._task_list_id = source.task_list_id
        self._slots = slots
        self._journal = journal
        self._keepalive = keepalive
        self._forwarder = forwarder
        self._metrics = metrics
        self._runner = swf.runner(room, self._hand_over, journal.together, held=True)
        self._idle = deque(self.pollers)
        self._stopping = threading.Event()
        self._wants_slot = False
        slots.watch(self._task_list_id, self._slot_freed)

    def __repr__(self) -> str:
        return f"<Pollers {self.name}, {self._runner.open} polls>"

    # --- the first law: slot, poll, record, hand over ---

    async def _poll(self, poller: Poller) -> Recorded | None:
        """Poll with a slot taken, and record the task before anything else.

        Without a task, the slot is given back. All answers of one turn are handled inside one
        ``journal.together()``. Its end commits their records, and then the runner calls
        ``_hand_over`` with the results. Before the commit a task exists only in this process.
        """
        task = None
        try:
            task = await poller.poll_once()
        finally:
            self._idle.append(poller)
            if task is None:
                self._slots.give_back(self._task_list_id)
        if task is None:
            return None
        self._slots.fill(self._task_list_id, task.id)
        recorded = Recorded(task, encode_task(task))
        try:
            self._journal.record(*recorded)
        except BaseException:  # recording failed: publish it anyway, or it would be lost
            self._hand_over(recorded)
            raise
        return recorded

    def _hand_over(self, recorded: Recorded | None) -> None:
        """Start heartbeats for a recorded task, if its list enables them, and publish it."""
        if recorded is None:
            return
        task, body = recorded
        with sentry.task_scope(task.domain, task.task_list, task.name):
            self._keepalive.watch(task)
            self._forwarder.forward(task, body)
        self._metrics.count(m.TASKS_POLLED, *self._task_list_id)
        log.debug("task.polled", extra={"task": task.id, "activity": task.name})

    # --- when a poll may begin ---

    def run(self) -> None:
        """Poll until stopped or an error; then let open polls end and hand over their tasks."""
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

    def turn(self, tick: float = TICK) -> None:
        """Begin the polls that are due and allowed, and handle the answers that have come.

        Waits at most ``tick`` seconds each for what keeps polls from beginning and for answers.
        """
        self.moved = time.monotonic()
        pause = self._begin(tick)
        if self._runner.open:
            self._runner.turn(pause)
        elif pause > 0:
            self._stopping.wait(pause)

    def _begin(self, tick: float) -> float:
        """Begin the polls that are due; return the seconds to wait before the next attempt."""
        now, pause = time.monotonic(), tick
        for _ in range(len(self._idle)):
            poller = self._idle.popleft()
            if poller.due > now:
                pause = min(pause, poller.due - now)
                self._idle.append(poller)
            elif obstacle := self._take_slot(0.0 if self._runner.open else tick):
                self._idle.appendleft(poller)
                for each in self._idle:
                    if each.due <= now:
                        each.be(*obstacle)
                return tick if self._runner.open else 0.0
            else:
                self._runner.begin(self._poll(poller))
        return pause

    def _take_slot(self, patience: float) -> Obstacle | None:
        """Take a slot, or return why no poll may begin; each wait lasts at most ``patience``."""
        if self._stopping.is_set():
            return _STOPPING
        obstacle = self._source.obstacle() or self._acquire(0.0)
        if obstacle is None or not patience:
            return obstacle
        if obstacle := self._source.obstacle(patience) or self._acquire(patience):
            return obstacle
        if obstacle := self._source.obstacle():  # it came up during a wait
            self._slots.give_back(self._task_list_id)
        return obstacle

    def _acquire(self, patience: float) -> Obstacle | None:
        self._wants_slot = True  # set before acquiring, so that a slot freed later wakes us
        self._wants_slot = not self._slots.acquire(self._task_list_id, patience)
        return _SLOTS_TAKEN if self._wants_slot else None

    def _slot_freed(self) -> None:
        if self._wants_slot:
            self._runner.wake()

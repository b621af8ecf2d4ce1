"""The daemon's report on itself: liveness, readiness, metrics, and the snapshot of its state.

Nothing here calls SWF or RabbitMQ: everything is read from the parts in memory and the journal.
"""

import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bridge import __revision__, __version__
from bridge.control.drain import Drain
from bridge.control.request import Output, Request
from bridge.flow.forwarder import Forwarder
from bridge.flow.obstacle import PollerState
from bridge.flow.poller import Poller, Source
from bridge.journal.entry import Standing
from bridge.journal.journal import Journal
from bridge.journal.slots import Slots
from bridge.message.replies import DEAD_LETTER_CODES
from bridge.rabbitmq.amqp import Refusal
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.consuming.consumer import Consumer
from bridge.rabbitmq.publisher import Fate
from bridge.rabbitmq.queue_watch import Depth
from bridge.status import snapshot
from bridge.status.diagnosis.checks import Check, Kind, State
from bridge.status.last_hour import LastHour
from bridge.swf.clock import SwfClock
from bridge.telemetry import logs
from bridge.telemetry import metrics as m
from bridge.telemetry.outage import Outage
from bridge.telemetry.registry import Metrics
from bridge.threads.part import Part


class Report:
    """The state of one daemon. Any thread may call its methods."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        parts: Sequence[Part],
        sources: Sequence[Source],
        pollers: Sequence[Poller],
        slots: Slots,
        journal: Journal,
        consumer: Consumer,
        dead_letters: Depth,
        consumers: Sequence[Consumer] = (),
        connections: Sequence[Connection],
        beside: Sequence[Connection] = (),
        answers: Outage,
        forwarder: Forwarder,
        clock: SwfClock,
        drain: Drain,
    ) -> None:
        self.last_errors = snapshot.LastErrors()
        self.last_hour = LastHour(metrics, journal, [source.task_list_id for source in sources])
        self._started = time.time()
        self._forwarder = forwarder
        self._clock = clock
        self._drain = drain
        self._answers = answers
        self._metrics = metrics
        self._parts = parts
        self._sources = sources
        self._pollers = pollers
        self._slots = slots
        self._journal = journal
        self._consumer = consumer
        self._dead_letters = dead_letters
        self._consumers = consumers
        self._connections = connections
        self._beside = beside
        self._read_gauges()
        self._begin_counters()

    def stuck(self) -> list[str]:
        """The names of parts whose loop has not run for their ``patience``."""
        now = time.monotonic()
        return [part.name for part in self._parts if now - part.moved > part.patience]

    def summary(self) -> str:
        """One line of STATUS for systemd: pollers, tasks in flight, failed checks."""
        polling = sum(poller.state is PollerState.POLLING for poller in self._pollers)
        in_flight = sum(self._slots.in_flight(source.task_list_id) for source in self._sources)
        told = [f"{polling}/{len(self._pollers)} pollers polling, {in_flight} tasks in flight"]
        told += [f"{check.name}: {check.detail}" for check in self.readyz() if not check.ok]
        return "; ".join(told)

    def livez(self) -> list[Check]:
        """One check: whether the loop of every part still runs."""
        if stuck := self.stuck():
            return [Check(Kind.THREADS, State.STUCK, f"stuck: {', '.join(stuck)}")]
        return [Check(Kind.THREADS, State.OK, "moving")]

    def readyz(self) -> list[Check]:
        """The checks of whether tasks can be polled, published and answered."""
        journal = Check(Kind.JOURNAL, State.OK, "writable")
        if not self._journal.writable.is_set():
            why = f"cannot be written: {self._journal.commits.error}"
            journal = Check(Kind.JOURNAL, State.NOT_WRITABLE, why)
        answers = Check(Kind.ANSWERS, State.OK, "taken by SWF")
        if error := self._answers.error:
            answers = Check(Kind.ANSWERS, State.FAILING, error)
        daemon = Check(Kind.DAEMON, State.OK, "running")
        if self._drain.begun.is_set():
            daemon = Check(Kind.DAEMON, State.DRAINING, f"draining: {self._drain.text}")
        connections = map(_connected, self._connections)
        return [daemon, *connections, journal, answers, *map(_polls, self._sources)]

    def lacks(self) -> list[Check]:
        """Checks that do not affect readiness: connections and items that forwarding does not need.

        A missing item comes with RabbitMQ's reason.
        """
        lacking = [
            Check(Kind.LACKING, State.REFUSED, why, subject=str(item))
            for each in (*self._connections, *self._beside)
            for item, why in each.declarations.lacks.items()
        ]
        failing = [each.dead_letters.error for each in self._consumers if each.dead_letters.error]
        parked = [Check(Kind.DEAD_LETTERS, State.FAILING, why) for why in failing[:1]]
        return [*map(_connected, self._beside), *lacking, *parked]

    def _unparked(self) -> int:
        return sum(each.unparked for each in self._consumers)

    def metrics(self) -> Metrics:
        """The registry of all metrics."""
        return self._metrics

    def snapshot(self) -> dict[str, Any]:
        """The snapshot of ``bridge/status/snapshot.py``."""
        return snapshot.take(
            self._metrics,
            started=self._started,
            draining=self._drain.state(),
            checks=[*self.livez(), *self.readyz(), *self.lacks()],
            sources=self._sources,
            pollers=self._pollers,
            slots=self._slots,
            journal=self._journal,
            consumer=self._consumer,
            dead_letters=self._dead_letters,
            connections=[*self._connections, *self._beside],
            unparked=self._unparked(),
            unroutable=self._forwarder.unroutable,
            swf_now=self._clock.now(),
            last_errors=self.last_errors,
            last_hour=self.last_hour,
        )

    def tell_status(self, _request: Request) -> Output:
        """Run the command ``status`` of the control socket."""
        yield {"result": self.snapshot()}

    def _read_gauges(self) -> None:
        gauge, sources = self._metrics.gauge, self._sources
        connections = [*self._connections, *self._beside]
        slots, journal = self._slots, self._journal
        python = platform.python_version()
        self._metrics.set(m.BUILD_INFO, 1, __version__, __revision__, python)
        gauge(
            m.TASKS_IN_FLIGHT,
            lambda: {s.task_list_id: slots.in_flight(s.task_list_id) for s in sources},
        )
        gauge(m.SLOTS, lambda: {s.task_list_id: slots.limit(s.task_list_id) for s in sources})
        gauge(m.LAST_POLL, lambda: {s.task_list_id: s.last_poll for s in sources})
        gauge(
            m.PAUSED, lambda: {s.task_list_id: s.pause.seconds if s.pause else 0 for s in sources}
        )
        gauge(m.POLLERS, self._pollers_by_state)
        gauge(m.REPLIES_HELD, lambda: len(self._consumer.held))
        gauge(m.DEAD_LETTERS_STANDING, self._dead_letters_standing)
        gauge(m.DEAD_LETTERS_WAITING, self._unparked)
        gauge(m.BROKER_CONNECTED, lambda: {(c.name,): c.ready.is_set() for c in connections})
        gauge(m.BROKER_BLOCKED, lambda: {(c.name,): c.blocked for c in connections})
        gauge(m.BROKER_RECONNECTS, lambda: {(c.name,): c.reconnects for c in connections})
        gauge(m.TASKS_UNCONFIRMED, lambda: self._standing(lambda stands: stands.owed))
        gauge(m.OLDEST_TASK, lambda: self._standing(lambda stands: time.time() - stands.oldest))
        gauge(m.NEXT_DEADLINE, self._next_deadlines)
        gauge(m.ROUTING_KEYS_WAITING, lambda: len(self._forwarder.unroutable))
        gauge(m.UNROUTABLE_FAILS, self._first_failed)
        gauge(m.JOURNAL_WRITABLE, journal.writable.is_set)
        gauge(m.JOURNAL_SIZE, journal.size)
        gauge(m.THREAD_PROGRESS, self._progress)
        gauge(m.LOG_LINES_DROPPED, logs.dropped)

    def _begin_counters(self) -> None:
        """Start each series at 0: Prometheus sees no increase in a series that starts at 1."""
        count = partial(self._metrics.count, by=0)
        for code in DEAD_LETTER_CODES:
            count(m.DEAD_LETTERS, code)
        polled = {source.task_list_id for source in self._sources}
        for task_list_id in polled | self._journal.standing().keys():
            for metric in (
                m.TASKS_POLLED,
                m.TASKS_PUBLISHED,
                m.TASKS_FAILED_BACK,
                m.TASKS_EXPIRED,
            ):
                count(metric, *task_list_id)
            for fate in Fate:
                count(m.PUBLISHES, *task_list_id, fate.value)
        for task_list_id in polled:
            for outcome in ("task", "empty", "error"):
                count(m.POLLS, *task_list_id, outcome)

    def _standing(self, of: Callable[[Standing], float]) -> dict[tuple[str, ...], float]:
        told: dict[tuple[str, ...], float] = {source.task_list_id: 0.0 for source in self._sources}
        told.update(
            (task_list_id, of(each)) for task_list_id, each in self._journal.standing().items()
        )
        return told

    def _first_failed(self) -> dict[tuple[str, ...], float]:
        unroutable = self._forwarder.unroutable.values()
        ends = [each.fails_at for each in unroutable if each.fails_at is not None]
        return {(): min(ends)} if ends else {}

    def _dead_letters_standing(self) -> dict[tuple[str, ...], float]:
        """No sample until RabbitMQ has told the number: a 0 would end a valid alert."""
        depth = self._dead_letters
        return {} if depth.ready is None else {(depth.queue,): depth.ready}

    def _next_deadlines(self) -> dict[tuple[str, ...], float]:
        """Seconds to the next deadline of each list that has a known deadline."""
        now = self._clock.now()
        standing = self._journal.standing().items() if now is not None else ()
        return {
            task_list_id: each.next_deadline - now
            for task_list_id, each in standing
            if each.next_deadline is not None and now is not None
        }

    def _pollers_by_state(self) -> dict[tuple[str, ...], float]:
        states = Counter((*poller.task_list_id, poller.state.value) for poller in self._pollers)
        return {labels: float(count) for labels, count in states.items()}

    def _progress(self) -> dict[tuple[str, ...], float]:
        ahead = time.time() - time.monotonic()
        return {(part.name,): part.moved + ahead for part in self._parts}


def _connected(connection: Connection) -> Check:
    state, detail = State.AWAY, connection.outage.error or "connecting"
    if connection.ready.is_set():
        state, detail = State.OK, "connected"
    elif connection.blocked:
        state, detail = State.BLOCKED, "blocked by RabbitMQ"
    elif connection.refusal is Refusal.LIMIT:
        state = State.NO_ROOM
    elif connection.refusal:
        state = State.REFUSED
    return Check(Kind.BROKER, state, detail, subject=connection.name)


def _polls(source: Source) -> Check:
    state, detail = State.OK, "answered"
    if pause := source.pause:  # errors of earlier polls do not matter while it lasts
        detail = pause.text
    elif error := source.refused.error:
        state, detail = State.REFUSED, error
    elif error := source.failing.error:
        state, detail = State.FAILING, error
    return Check(Kind.POLLS, state, detail, subject="/".join(source.task_list_id))

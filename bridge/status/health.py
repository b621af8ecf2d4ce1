"""What the daemon tells of itself: whether it lives, is ready, and what it counts; to all who ask.

Nothing here asks a peer: it is read off the parts as they stand.
"""

import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from bridge import __version__
from bridge.flow.poller import Poller, Source
from bridge.journal.journal import Journal, Standing
from bridge.journal.slots import Window
from bridge.message import DEAD_LETTER_CODES
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.consumer import Consumer
from bridge.rabbitmq.publisher import Fate
from bridge.status import snapshot
from bridge.status.http import Check
from bridge.telemetry import metrics as m
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.outage import Outage


class Moving(Protocol):
    """A part, as far as it is watched."""

    name: str
    moved: float
    """Monotonic seconds when it last said that it moves."""
    patience: float
    """Seconds without a move after which it counts as stuck."""


class Report:
    """The facts of one daemon. Safe to ask from any thread."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        parts: Sequence[Moving],
        sources: Sequence[Source],
        pollers: Sequence[Poller],
        window: Window,
        journal: Journal,
        consumer: Consumer,
        connections: Sequence[Connection],
        beside: Sequence[Connection] = (),
        answers: Outage,
        unroutable: Callable[[], Mapping[str, tuple[float, str]]] = dict,
    ) -> None:
        self.stopping = False
        """Whether the daemon drains."""
        self.last_errors = snapshot.LastErrors()
        self._started = time.time()
        self._unroutable = unroutable
        self._answers = answers
        self._metrics = metrics
        self._parts = parts
        self._sources = sources
        self._pollers = pollers
        self._window = window
        self._journal = journal
        self._consumer = consumer
        self._connections = connections
        self._beside = beside
        self._read_gauges()
        self._begin_counters()

    def stuck(self) -> list[str]:
        """The parts that have not moved within their patience."""
        now = time.monotonic()
        return [part.name for part in self._parts if now - part.moved > part.patience]

    def summary(self) -> str:
        """One line for the service manager."""
        polling = sum(poller.state == "polling" for poller in self._pollers)
        in_flight = sum(self._window.in_flight(source.label) for source in self._sources)
        told = [f"{polling}/{len(self._pollers)} pollers polling, {in_flight} tasks in flight"]
        told += [f"{name}: {check.detail}" for name, check in self.readyz().items() if not check.ok]
        return "; ".join(told)

    def livez(self) -> dict[str, Check]:
        """Whether every thread moves."""
        stuck = self.stuck()
        return {"threads": Check(not stuck, f"stuck: {', '.join(stuck)}" if stuck else "moving")}

    def readyz(self) -> dict[str, Check]:
        """Whether tasks can be taken, handed on and answered, by name."""
        checks = {f"broker {each.name}": _connected(each) for each in self._connections}
        writable = self._journal.writable.is_set()
        checks["journal"] = Check(writable, "writable" if writable else "cannot be written")
        checks["answers"] = Check(not self._answers.error, self._answers.error or "taken by SWF")
        for source in self._sources:
            error = source.refused.error or source.failing.error
            checks[f"polls {'/'.join(source.label)}"] = Check(not error, error or "answered")
        return checks

    def lacks(self) -> dict[str, Check]:
        """What tasks and replies can do without, by name; with RabbitMQ's reason where it is not.

        Nothing of it makes the daemon not ready.
        """
        checks = {f"broker {each.name}": _connected(each) for each in self._beside}
        for each in (*self._connections, *self._beside):
            checks.update(
                {f"lacking {item}": Check(False, why) for item, why in each.lacks.items()}
            )
        return checks

    def metrics(self) -> Metrics:
        """Every count."""
        return self._metrics

    def snapshot(self) -> dict[str, Any]:
        """Everything that an operator wants to see at once (``bridge/status/snapshot.py``)."""
        return snapshot.take(
            self._metrics,
            started=self._started,
            stopping=self.stopping,
            checks={**self.livez(), **self.readyz(), **self.lacks()},
            sources=self._sources,
            pollers=self._pollers,
            window=self._window,
            journal=self._journal,
            consumer=self._consumer,
            connections=[*self._connections, *self._beside],
            unroutable=self._unroutable(),
            last_errors=self.last_errors,
        )

    def _read_gauges(self) -> None:
        gauge, sources = self._metrics.gauge, self._sources
        connections = [*self._connections, *self._beside]
        window, journal = self._window, self._journal
        self._metrics.set(m.BUILD_INFO, 1, __version__, platform.python_version())
        gauge(m.TASKS_IN_FLIGHT, lambda: {s.label: window.in_flight(s.label) for s in sources})
        gauge(m.SLOTS, lambda: {s.label: window.limit(s.label) for s in sources})
        gauge(m.LAST_POLL, lambda: {s.label: s.last_poll for s in sources})
        gauge(m.POLLERS, self._pollers_by_state)
        gauge(m.REPLIES_HELD, lambda: self._consumer.held)
        gauge(m.BROKER_CONNECTED, lambda: {(c.name,): c.ready.is_set() for c in connections})
        gauge(m.BROKER_BLOCKED, lambda: {(c.name,): c.blocked for c in connections})
        gauge(m.BROKER_RECONNECTS, lambda: {(c.name,): c.reconnects for c in connections})
        gauge(m.TASKS_UNCONFIRMED, lambda: self._standing(lambda stands: stands.owed))
        gauge(m.OLDEST_TASK, lambda: self._standing(lambda stands: time.time() - stands.oldest))
        gauge(m.ROUTING_KEYS_WAITING, lambda: len(self._unroutable()))
        gauge(m.JOURNAL_WRITABLE, journal.writable.is_set)
        gauge(m.JOURNAL_SIZE, journal.size)
        gauge(m.THREAD_PROGRESS, self._progress)

    def _begin_counters(self) -> None:
        """At 0: Prometheus sees no increase in a series that begins with its first event."""
        count = partial(self._metrics.count, by=0)
        for code in DEAD_LETTER_CODES:
            count(m.DEAD_LETTERS, code)
        polled = {source.label for source in self._sources}
        for label in polled | self._journal.standing().keys():
            for metric in (m.TASKS_POLLED, m.TASKS_PUBLISHED, m.TASKS_FAILED_BACK):
                count(metric, *label)
            for fate in Fate:
                count(m.PUBLISHES, *label, fate.value)
        for label in polled:
            for outcome in ("task", "empty", "error"):
                count(m.POLLS, *label, outcome)

    def _standing(self, of: Callable[[Standing], float]) -> dict[tuple[str, ...], float]:
        told: dict[tuple[str, ...], float] = {source.label: 0.0 for source in self._sources}
        told.update((label, of(each)) for label, each in self._journal.standing().items())
        return told

    def _pollers_by_state(self) -> dict[tuple[str, ...], float]:
        states = Counter((*poller.label, _word(poller.state)) for poller in self._pollers)
        return {labels: float(count) for labels, count in states.items()}

    def _progress(self) -> dict[tuple[str, ...], float]:
        ahead = time.time() - time.monotonic()
        return {(part.name,): part.moved + ahead for part in self._parts}


def _connected(connection: Connection) -> Check:
    if connection.ready.is_set():
        return Check(True, "connected")
    if connection.blocked:
        return Check(False, "blocked by RabbitMQ")
    return Check(False, connection.outage.error or "connecting")


def _word(state: str) -> str:
    """A poller's state as a label: few values, whatever the error or the queue is."""
    for begin, word in _WORDS.items():
        if state.startswith(begin):
            return word
    return "waiting"


_WORDS = {
    **{each: each for each in ("starting", "polling", "stopped", "failing", "refused by SWF")},
    "every slot": "window full",
    "queue ": "no demand",
    "RabbitMQ": "broker away",
    "the journal": "journal not writable",
}

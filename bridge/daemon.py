"""The life of the daemon: parts built in flow order, the sink first; one reason stops them all.

    pollers ──► journal ──► forwarder ──► publisher ══► RabbitMQ
       ▲ slot                                              ║
       └── window ◄── settled ── responders ◄── consumer ◄═╝

Start: settings → journal → publisher → forwarder, which owes what the journal holds unconfirmed →
responders → consumer → pollers → READY. A peer that is away ends nothing: it is tried again.
Stop: no new polls; open ones end and their tasks are published; the consumer takes no more and the
responders finish; then consumer, publisher, journal. What is left stands in the journal. A part
that ends by itself is a reason to stop: nothing dies alone, and systemd starts it all again.
"""

import contextlib
import faulthandler
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from bridge import __version__
from bridge import metrics as m
from bridge.amqp import Tls
from bridge.consumer import Consumer, Delivery, Outcome
from bridge.demand import Demand, Wanted
from bridge.forwarder import Forwarder
from bridge.heartbeats import Heartbeats
from bridge.instances import Instances
from bridge.journal import Journal
from bridge.keepalive import Keepalive
from bridge.logs import configure_logging
from bridge.metrics import Metrics
from bridge.poller import Poller, Source
from bridge.publisher import Publisher
from bridge.reconciler import Reconciler
from bridge.redact import register_secret
from bridge.responder import Hand, Responder
from bridge.routing import RoutingKey
from bridge.settings import Settings
from bridge.status import Check, StatusServer
from bridge.swf import Swf
from bridge.systemd import Notifier
from bridge.task import ActivityTask
from bridge.timer import Timer
from bridge.topology import Topology
from bridge.window import Window

log = logging.getLogger(__name__)

TICK = 1.0
STEP = 0.02
"""Seconds between two looks at a condition of the drain."""
HEARTBEAT_THREADS = 2
"""Beside the responders, so that a slow heartbeat delays no result."""
FLUSH = 1.0
"""Seconds between two writes of what the journal may write lazily."""
FINISH_TIMEOUT = 10.0
"""Seconds for each step of the drain that waits for no poll."""
THREAD_STACK = 512 * 1024
"""Bytes: a thousand pollers must not ask for eight gigabytes of address space."""

EXIT_STOPPED = 0
EXIT_FAILED = 70


class Part(Protocol):
    """What the daemon runs, each on a thread of its own."""

    name: str
    moved: float
    """Monotonic seconds when it last said that it moves."""
    patience: float
    """Seconds without a move after which it counts as stuck."""

    def run(self) -> None:
        """Block until asked to stop."""

    def stop(self) -> None:
        """Ask it to stop; never blocks, and may be called twice."""


@dataclass(frozen=True, slots=True)
class Signal:
    """The service manager, or a person, asks the daemon to stop."""

    number: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A part has ended, for no error or for one."""

    part: str
    error: BaseException | None = None


class Daemon:
    """Every part, and the thread each runs on. Raises ConfigError and PartFailed where built."""

    def __init__(self, settings: Settings, notifier: Notifier) -> None:
        self._settings = settings
        self._notifier = notifier
        self._started = time.monotonic()
        self._reasons: SimpleQueue[Signal | Ended] = SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}
        self._metrics = Metrics()
        self.timer = Timer()
        routing_key = RoutingKey(settings.routing_key)
        self.swf = Swf(
            identity=settings.identity,
            pollers=sum(each.pollers for each in settings.task_lists),
            responders=settings.responders + HEARTBEAT_THREADS,
            read_timeout=settings.read_timeout,
            observe=self._observe_request,
        )
        labels = [(each.domain, each.name) for each in settings.task_lists]
        self.window = Window(
            dict(zip(labels, [each.max_in_flight for each in settings.task_lists], strict=True))
        )
        self.journal = Journal(settings.journal, settled=self.window.release)
        for task_id, *label in self.journal.labels():
            self.window.hold((label[0], label[1]), task_id)
        topology = Topology(
            exchange=settings.exchange,
            cancel_exchange=settings.cancel_exchange,
            reply_queue=settings.reply_queue,
            dead_letter_queue=settings.dead_letter_queue,
            undeliverable=settings.undeliverable,
            instance=self.journal.instance,
        )
        tls = Tls(settings.amqp_ca_file, settings.amqp_cert_file, settings.amqp_key_file)
        self.publisher = Publisher(
            settings.amqp_urls, tls, topology.for_publisher(), declare=settings.declare
        )
        instances = Instances(
            self.journal,
            self.publisher,
            self._metrics,
            topology=topology,
            routing_key=routing_key,
        )
        self.heartbeats = Heartbeats(
            self.swf,
            instances,
            self.publisher,
            self._metrics,
            topology=topology,
            later=self.timer.later,
            settle=self._settle,
        )
        self.keepalive = Keepalive(
            self.swf,
            self.journal,
            instances,
            later=self.timer.later,
            work=self.heartbeats.work.put,
            intervals={(each.domain, each.name): each.keepalive for each in settings.task_lists},
            limit=settings.keepalive_limit,
        )
        instances.worker_spoke = self.keepalive.heard
        self.responder = Responder(
            self.swf,
            instances,
            self._metrics,
            topology=topology,
            settle=self._settle,
            heartbeats=self.heartbeats,
            heard=self.keepalive.heard,
        )
        self.forwarder = Forwarder(
            self.journal,
            self.publisher,
            self.responder.fail_back,
            self.timer.later,
            self._metrics,
            exchange=settings.exchange,
            routing_key=routing_key,
            reply_to=settings.reply_queue,
            unroutable_timeout=settings.unroutable_timeout,
        )
        self.consumer = Consumer(
            settings.amqp_urls,
            tls,
            topology.for_consumer(),
            declare=settings.declare,
            queues=(settings.reply_queue, settings.undeliverable, topology.notice_queue),
            dead_letter_queue=settings.dead_letter_queue,
            deliver=self.responder.deliver,
            publish=self.publisher.publish,
            parked=lambda code: self._metrics.count(m.DEAD_LETTERS, code),
        )
        self.responders: list[Part] = [
            Hand(f"responder-{number}", self.responder.work, self.responder.handle)
            for number in range(1, settings.responders + 1)
        ]
        self.responders += [
            Hand(f"heartbeat-{number}", self.heartbeats.work, lambda beat: beat())
            for number in range(1, HEARTBEAT_THREADS + 1)
        ]
        self.reconciler = Reconciler(
            self.swf,
            self.journal,
            self.window,
            instances,
            labels,
            in_flight_timeout=settings.in_flight_timeout,
        )
        wanted = {
            (each.domain, each.name): Wanted(each.queue, each.max_in_flight)
            for each in settings.task_lists
            if each.queue
        }
        self.demand = Demand(settings.amqp_urls, tls, wanted, declare=settings.declare)
        self.sources = [
            Source(
                label,
                broker_ready=self.publisher.ready,
                journal=self.journal,
                demand=self.demand.gates.get(label),
            )
            for label in labels
        ]
        self.pollers = list(self._pollers())
        self.status = StatusServer(settings.http, self) if settings.http else None
        self._read_gauges()

    def _hand_over(self, task: ActivityTask, body: bytes) -> None:
        self.forwarder.forward(task, body)
        self.keepalive.watch(task)

    def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        self.consumer.settle(delivery, outcome)

    def _pollers(self) -> Iterator[Poller]:
        for source, task_list in zip(self.sources, self._settings.task_lists, strict=True):
            for number in range(1, task_list.pollers + 1):
                yield Poller(
                    f"poller-{task_list.label}-{number}",
                    source,
                    swf=self.swf,
                    window=self.window,
                    journal=self.journal,
                    hand_over=self._hand_over,
                    metrics=self._metrics,
                    read_timeout=self._settings.read_timeout,
                )

    @property
    def parts(self) -> list[Part]:
        """Every part, the sink first."""
        sinks: list[Part] = [self.publisher, self.timer, *self.responders, self.consumer]
        watchers: list[Part] = [self.demand] if self.demand.gates else []
        return [*sinks, *watchers, self.reconciler, *self.pollers]

    # --- life ---

    def run(self) -> int:
        """Run until a signal or the end of a part; the exit code."""
        self._catch_signals()
        threading.stack_size(THREAD_STACK)
        if self.status is not None:
            self._start(self.status)
        self.timer.later(0.0, self.forwarder.resume)
        self.timer.later(0.0, self.keepalive.resume)
        self.timer.every(FLUSH, self.journal.flush)
        for part in self.parts:
            self._start(part)
        log.info("daemon.started", extra={"version": __version__, "parts": len(self._threads)})
        self._notifier.ready()
        reason = self._wait()
        failed = isinstance(reason, Ended)
        if isinstance(reason, Ended):
            extra = {"part": reason.part, "error": repr(reason.error)}
            log.critical("part.ended", extra=extra, exc_info=reason.error)
        log.info("daemon.draining", extra={"seconds": self._settings.drain_timeout})
        self._notifier.stopping()
        self._drain()
        log.info("daemon.stopped", extra={"left": len(self.journal.labels())})
        self.journal.close()
        return EXIT_FAILED if failed else EXIT_STOPPED

    def _start(self, part: Part) -> None:
        thread = threading.Thread(target=self._live, args=(part,), name=part.name, daemon=True)
        self._threads[part.name] = thread
        thread.start()

    def _live(self, part: Part) -> None:
        try:
            part.run()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it ends the part
            self._reasons.put(Ended(part.name, error))
        else:
            self._reasons.put(Ended(part.name))

    def _catch_signals(self) -> None:
        # A handler does one thing: an Event set in one can hang for ever.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: self._reasons.put(Signal(number)))

    def _wait(self) -> Signal | Ended:
        """The first reason to stop."""
        while True:
            self._tick()
            with contextlib.suppress(Empty):
                reason = self._reasons.get(timeout=TICK)
                if not (isinstance(reason, Ended) and reason.part == "status" and not reason.error):
                    return reason

    def _tick(self) -> None:
        if not self.stuck():
            self._notifier.watchdog()
        self._notifier.status(self.summary())

    # --- drain ---

    def _drain(self) -> None:
        """Source first, each step until it is through or its time is over."""
        finish = FINISH_TIMEOUT
        self.window.close()
        self._stop(self.pollers)
        deadline = time.monotonic() + self._settings.drain_timeout
        if not self._until(lambda: self._ended(self.pollers), deadline - time.monotonic()):
            log.warning("poll.abandoned", extra={"count": self._alive(self.pollers)})
        self._until(lambda: not self.publisher.outstanding, deadline - time.monotonic())
        self._stop([self.reconciler, self.demand])
        self.consumer.cancel()
        self._until(lambda: not self.consumer.ready.is_set() or self._answered(), finish)
        self._stop([*self.responders, self.timer])
        self._until(lambda: self._ended([*self.responders, self.timer]), finish)
        self._until(lambda: not self.publisher.outstanding, 1.0)
        self._stop([self.consumer, self.publisher])
        self._until(lambda: self._ended([self.consumer, self.publisher]), finish)
        if self.status is not None:
            self._stop([self.status])

    def _answered(self) -> bool:
        return self.responder.work.empty() and not self.consumer.unsettled

    def _stop(self, parts: Sequence[Part]) -> None:
        for part in parts:
            part.stop()

    def _ended(self, parts: Sequence[Part]) -> bool:
        return not self._alive(parts)

    def _alive(self, parts: Sequence[Part]) -> int:
        return sum(self._threads[part.name].is_alive() for part in parts)

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether the condition holds within the time; a second signal leaves at once."""
        deadline = time.monotonic() + seconds
        told = 0.0
        while not condition():
            now = time.monotonic()
            if now >= deadline:
                return False
            if now - told > TICK:
                told = now
                self._notifier.watchdog()
                self._notifier.extend_timeout(self._settings.drain_timeout + FINISH_TIMEOUT)
            with contextlib.suppress(Empty):
                if isinstance(self._reasons.get(timeout=STEP), Signal):
                    log.warning("daemon.left", extra={"left": len(self.journal.labels())})
                    logging.shutdown()
                    os._exit(EXIT_STOPPED)
        return True

    # --- what it tells ---

    def stuck(self) -> list[str]:
        """The parts that have not moved within their patience."""
        now = time.monotonic()
        return [part.name for part in self.parts if now - part.moved > part.patience]

    def summary(self) -> str:
        """One line for the service manager."""
        polling = sum(poller.state == "polling" for poller in self.pollers)
        in_flight = sum(self.window.in_flight(source.label) for source in self.sources)
        told = [f"{polling}/{len(self.pollers)} pollers polling, {in_flight} tasks in flight"]
        told += [f"{name}: {check.detail}" for name, check in self.readyz().items() if not check.ok]
        return "; ".join(told)

    def livez(self) -> dict[str, Check]:
        """Whether every thread moves; asks no peer."""
        stuck = self.stuck()
        return {"threads": Check(not stuck, f"stuck: {', '.join(stuck)}" if stuck else "moving")}

    def readyz(self) -> dict[str, Check]:
        """Whether tasks can be taken, handed on and answered, by name."""
        checks = {}
        for connection in (self.publisher, self.consumer):
            name = f"broker {connection.name}"
            if connection.ready.is_set():
                checks[name] = Check(True, "connected")
            elif connection.blocked:
                checks[name] = Check(False, "blocked by RabbitMQ")
            else:
                checks[name] = Check(False, connection.outage.error or "connecting")
        writable = self.journal.writable.is_set()
        checks["journal"] = Check(writable, "writable" if writable else "cannot be written")
        for source in self.sources:
            error = source.refused.error or source.failing.error
            checks[f"polls {'/'.join(source.label)}"] = Check(not error, error or "answered")
        return checks

    def metrics(self) -> Metrics:
        """Every count."""
        return self._metrics

    def _observe_request(self, operation: str, code: str, seconds: float) -> None:
        self._metrics.count(m.SWF_REQUESTS, operation, code)
        self._metrics.observe(m.SWF_REQUEST_DURATION, seconds, operation)

    def _read_gauges(self) -> None:
        gauge = self._metrics.gauge
        connections = (self.publisher, self.consumer)
        gauge(
            m.TASKS_IN_FLIGHT,
            lambda: {s.label: self.window.in_flight(s.label) for s in self.sources},
        )
        gauge(
            m.SLOTS,
            lambda: {(t.domain, t.name): t.max_in_flight for t in self._settings.task_lists},
        )
        gauge(m.LAST_POLL, lambda: {s.label: s.last_poll for s in self.sources})
        gauge(m.REPLIES_HELD, lambda: self.consumer.held)
        gauge(m.BROKER_CONNECTED, lambda: {(c.name,): c.ready.is_set() for c in connections})
        gauge(m.BROKER_BLOCKED, lambda: {(c.name,): c.blocked for c in connections})
        gauge(m.JOURNAL_WRITABLE, self.journal.writable.is_set)
        gauge(m.JOURNAL_SIZE, self.journal.size)


def run(settings: Settings) -> int:
    """Run the daemon until it is asked to stop; the exit code (contract §6).

    Raises ConfigError for what cannot work, and PartFailed where the journal is held by another.
    """
    faulthandler.enable()
    configure_logging(settings.log_level, settings.log_format)
    for url in settings.amqp_urls:
        register_secret(url)
    for name in settings.without_effect():
        log.warning("setting.without_effect", extra={"setting": name})
    return Daemon(settings, Notifier.from_environment()).run()

"""The daemon's lifecycle: start the sink first, stop the source first, stop all for any reason.

Start: settings → journal → publisher → forwarder, which publishes the journal's unconfirmed tasks →
responders → consumer → pollers → READY. If a peer is away, connecting to it is retried.
Stop: no new polls; open ones end and their tasks are published; the consumer takes no more and the
responders finish; then consumer, publisher, journal. What is left stands in the journal. A part
that ends by itself is a reason to stop: nothing dies alone, and systemd starts it all again.
"""

import contextlib
import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty
from typing import NoReturn

from bridge import __revision__, __version__
from bridge.control.drain import Asked, Ended, Signal
from bridge.flow.heartbeats import keepalive
from bridge.flow.obstacle import PollerState
from bridge.flow.timeouts import deadlines
from bridge.settings import descriptors
from bridge.settings.settings import Settings
from bridge.status import last_hour
from bridge.telemetry import repeated, sentry
from bridge.telemetry.logs import configure_logging
from bridge.telemetry.redact import register_secret
from bridge.telemetry.systemd import Notifier
from bridge.threads import signals
from bridge.threads.part import Part
from bridge.wiring import Parts

log = logging.getLogger(__name__)

TICK = 1.0
STEP = 0.02
"""Seconds between two checks of a condition of the drain."""
SENTRY_FLUSH = 2.0
FLUSH = 1.0
"""Seconds between two flushes of the journal's deferred writes."""
FINISH_TIMEOUT = 10.0
"""Maximum seconds for each step of the drain that does not wait for polls."""
THREAD_STACK = 512 * 1024
"""Bytes: a thousand pollers must not ask for eight gigabytes of address space."""

EXIT_STOPPED = 0
EXIT_FAILED = 70


class Daemon:
    """Runs every part on a thread of its own, until one reason stops them all."""

    def __init__(self, parts: Parts, notifier: Notifier) -> None:
        self._parts = parts
        self._notifier = notifier
        self._reasons = parts.drain.reasons
        self._signalled = False
        self._threads: dict[str, threading.Thread] = {}

    def run(self) -> int:
        """Run until a signal, a drain command, or the end of a part; return the exit code."""
        parts = self._parts
        signals.watch(lambda number: self._reasons.put(Signal(number)))
        threading.stack_size(THREAD_STACK)
        if parts.status is not None:
            self._start(parts.status)
        self._start(parts.control)
        parts.timer.later(0.0, self._resume)
        parts.timer.every(FLUSH, parts.journal.flush)
        parts.timer.every(repeated.FLUSH, repeated.flush)
        parts.timer.every(last_hour.LOOK, parts.report.last_hour.look)
        parts.timer.every(FLUSH, parts.pauses.end_due)
        for part in parts.all:
            self._start(part)
        runs = {"version": __version__, "revision": __revision__, "parts": len(self._threads)}
        log.info("daemon.started", extra=runs)
        self._notifier.ready()
        reason = self._wait()
        failed = isinstance(reason, Ended)
        if isinstance(reason, Ended):
            extra = {"part": reason.part, "error": repr(reason.error)}
            log.critical("part.ended", extra=extra, exc_info=reason.error)
        log.info("daemon.draining", extra={"seconds": parts.drain.seconds, "reason": str(reason)})
        self._notifier.stopping()
        parts.drain.begin()
        left = {"polls": 0, "owed": 0, "inHand": 0}
        try:
            self._drain()
            repeated.flush(everything=True)
            left = self._left()
            log.info("daemon.stopped", extra={"left": left["inHand"]})
            parts.journal.close()
        except Exception:
            log.critical("drain.failed", exc_info=True)
            failed = True
        sentry.flush(SENTRY_FLUSH)
        parts.drain.end({**left, "failed": failed})
        return EXIT_FAILED if failed else EXIT_STOPPED

    def _resume(self) -> None:
        """Resume the work that an earlier run left. Runs on the timer's thread."""
        parts = self._parts
        parts.forwarder.resume()
        parts.peers.resume()
        parts.keepalive.resume()
        parts.timer.every(deadlines.ROUND, parts.deadlines.look)
        if parts.keepalive.wanted:
            beats = parts.heartbeats
            parts.timer.every(keepalive.LOOK, partial(parts.keepalive.look, beats.work, beats.own))

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

    def _wait(self) -> Signal | Ended | Asked:
        """Wait for the first reason to stop."""
        while True:
            self._tick()
            with contextlib.suppress(Empty):
                reason = self._reasons.get(timeout=TICK)
                self._signalled = isinstance(reason, Signal) and reason.number in signals.LEAVE
                if not (isinstance(reason, Ended) and reason.part == "status" and not reason.error):
                    return reason

    def _tick(self) -> None:
        if not self._parts.report.stuck():
            self._notifier.watchdog()
        self._tell_status()

    def _tell_status(self) -> None:
        try:
            self._notifier.status(self._parts.report.summary())
        except Exception:
            log.exception("status.failed", extra={"path": "STATUS"})

    # --- drain ---

    def _drain(self) -> None:
        """Stop the source first; each step ends when it is done or its time is over."""
        parts, finish = self._parts, FINISH_TIMEOUT
        parts.slots.close()
        self._stop(parts.polling)
        deadline = time.monotonic() + parts.drain.seconds
        if not self._until(lambda: self._ended(parts.polling), deadline - time.monotonic()):
            log.warning("poll.abandoned", extra={"count": self._open_polls()})
        self._until(self._handed_over, deadline - time.monotonic())
        self._stop([parts.reconciler, parts.queue_watch])
        for consumer in parts.consumers:
            consumer.cancel()
        self._until(self._answered, finish)
        self._stop([*parts.responders, parts.timer])
        self._until(lambda: self._ended([*parts.responders, parts.timer]), finish)
        self._until(self._handed_over, finish)
        connected = [*parts.consumers, parts.publisher, parts.answers, parts.copies]
        self._stop(connected)
        self._until(lambda: self._ended(connected), finish)
        self._stop([parts.control])
        if parts.status is not None:
            self._stop([parts.status])

    def _open_polls(self) -> int:
        return sum(each.state is PollerState.POLLING for each in self._parts.pollers)

    def _left(self) -> dict[str, int]:
        """The numbers of open polls, of unconfirmed tasks, and of all tasks in the journal."""
        journal = self._parts.journal
        owed = sum(each.owed for each in journal.standing().values())
        return {"polls": self._open_polls(), "owed": owed, "inHand": len(journal.in_hand())}

    def _handed_over(self) -> bool:
        if self._parts.deadlines.searching:
            return False
        # While RabbitMQ is away, do not wait: the journal holds all unconfirmed tasks.
        sending = (self._parts.publisher, self._parts.answers, self._parts.copies)
        return all(not each.outstanding or not each.ready.is_set() for each in sending)

    def _answered(self) -> bool:
        if not self._parts.responder.work.empty():
            return False
        consumers = self._parts.consumers
        return not any(each.unsettled for each in consumers if each.ready.is_set())

    def _stop(self, parts: Sequence[Part]) -> None:
        for part in parts:
            part.stop()

    def _ended(self, parts: Sequence[Part]) -> bool:
        return not self._alive(parts)

    def _alive(self, parts: Sequence[Part]) -> int:
        return sum(self._threads[part.name].is_alive() for part in parts)

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait up to ``seconds`` for the condition. A second signal ends the process at once.

        The first signal may come here too, if a command or the end of a part began the drain.
        """
        deadline = time.monotonic() + seconds
        told = 0.0
        while not condition():
            now = time.monotonic()
            if now >= deadline:
                return False
            if now - told > TICK:
                told = now
                self._notifier.watchdog()
                self._notifier.extend_timeout(self._parts.drain.seconds + FINISH_TIMEOUT)
                self._tell_status()
            with contextlib.suppress(Empty):
                reason = self._reasons.get(timeout=STEP)
                if isinstance(reason, Signal) and reason.number in signals.LEAVE:
                    if self._signalled:
                        self._leave()
                    self._signalled = True
        return True

    def _leave(self) -> NoReturn:
        log.warning("daemon.left", extra={"left": len(self._parts.journal.in_hand())})
        logging.shutdown()
        os._exit(EXIT_STOPPED)


def run(settings: Settings) -> int:
    """Run the daemon until it is asked to stop; return the exit code (contract §6).

    Raises ConfigError for wrong settings, and PartFailed if another process holds the journal.
    """
    faulthandler.enable()
    signals.hold()
    configure_logging(settings.log_level, settings.log_format)
    for url in settings.amqp_urls:
        register_secret(url)
    sentry.start_sentry(
        settings.sentry_dsn.get_secret_value() if settings.sentry_dsn else None,
        settings.sentry_environment,
        settings.sentry_traces_sample_rate,
        f"swf-bridge@{__version__}",
    )
    parts = Parts(descriptors.fitted(settings))
    logging.getLogger("bridge").addHandler(parts.report.last_errors)
    return Daemon(parts, Notifier.from_environment()).run()

"""One connection to RabbitMQ, owned by one thread and made anew whenever it is lost.

Nothing but this thread touches the connection; other threads leave work where the owner finds it
and call ``wake``. Every callback is guarded: in pika an exception in one looks like a network
fault, or ends the thread while the connection still says that it is open.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from bridge.backoff import Backoff
from bridge.rabbitmq import pika_tables
from bridge.rabbitmq.amqp import SelectConnection, Tls, cause, parameters
from bridge.rabbitmq.topology import Binding, Exchange, Item, Queue
from bridge.telemetry.outage import Outage

log = logging.getLogger(__name__)

__all__ = ["ChannelClosedByBroker", "Connection", "Missing", "Run", "Step", "Steps"]

CONNECT_TIMEOUT = 15.0
STEP_TIMEOUT = 10.0
CLOSE_TIMEOUT = 3.0
TICK = 1.0
PATIENCE = 60.0
BACKOFF_FIRST = 0.2
BACKOFF_CAP = 10.0
SETTLED_AFTER = 5.0
"""Seconds for which a connection must have been ready before the next loss counts as the first."""

_FORCED, _FORBIDDEN, _NOT_FOUND, _DIFFERS = 320, 403, 404, 406


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a setup: ``start`` sends it and is given whom to call with the answer."""

    what: str
    start: Callable[[Callable[..., None]], object]


Steps = Generator[Step, Any, None]


class Missing(Exception):
    """Something that must stand in RabbitMQ does not, and may not be declared."""


class Connection(ABC):
    """A part: a thread that keeps one connection and its channel up until it is stopped.

    ``ready`` is set while the channel is set up and RabbitMQ does not block it. ``run`` returns
    after ``stop``; ``stop`` never blocks. Addresses are tried in turn, with capped, jittered
    back-off.
    """

    def __init__(
        self, name: str, urls: Sequence[str], tls: Tls, items: Iterable[Item], *, declare: bool
    ) -> None:
        self.name = name
        self.ready = threading.Event()
        self.blocked = False
        self.reconnects = 0
        self.patience = PATIENCE
        self.moved = time.monotonic()
        self.outage = Outage(log, "broker.lost", "broker.connected", connection=name)
        self._addresses = [partial(parameters, url, tls, name) for url in urls]
        self._hosts = [urlsplit(url).netloc.rpartition("@")[2] for url in urls]
        self._items = tuple(items)
        self._declare = declare
        self._warned: set[Item] = set()
        self._greeted = False
        self._stopping = threading.Event()
        self._woken = False
        self._backoff = Backoff(BACKOFF_FIRST, BACKOFF_CAP)
        self._lives = 0
        self._loop: IOLoop | None = None
        self._connection: Any = None
        self._channel: Any = None
        self._stands = False
        """Whether the channel is set up: what is sent before has no number to be confirmed by."""
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'ready' if self.ready.is_set() else self.outage.error}>"

    # --- what a publisher or a consumer adds; all on the connection's own thread ---

    @abstractmethod
    def _setup(self) -> Steps:
        """After the topology: what makes the channel ready."""

    @abstractmethod
    def _work(self) -> None:
        """Carry out what other threads left; called when woken, and when the channel is ready."""

    @abstractmethod
    def _tick(self) -> None:
        """About once a second while the channel is ready."""

    @abstractmethod
    def _lost(self, error: BaseException | None) -> None:
        """The channel is gone; whatever was on its way has an unknown outcome."""

    # --- for every thread ---

    def wake(self) -> None:
        """Have ``_work`` called soon. One wake-up serves all that comes before it."""
        if not self._woken:
            self._woken = True
            if loop := self._loop:
                loop.add_callback_threadsafe(self._guarded(self._on_wake))

    def stop(self) -> None:
        """Have ``_work`` called once more, and the connection closed."""
        self._stopping.set()
        self._woken = False
        self.wake()

    def run(self) -> None:
        """Keep the connection up until asked to stop."""
        pika_tables.install()
        while not self._stopping.is_set():
            self._live(self._addresses[self._lives % len(self._addresses)])
            if not self._stopping.is_set():
                why = cause(self._error) if self._error else "connection closed"
                self.outage.begin(why, address=self._hosts[self._lives % len(self._hosts)])
                self._pause(self._backoff.next())
            self._lives += 1

    # --- one life of the connection ---

    def _live(self, address: Callable[[], pika.connection.Parameters]) -> None:
        """From connecting to the loss, whatever its cause."""
        self._error = self._channel = self._connection = None
        self._stands = False
        self._woken = False
        loop = self._loop = IOLoop()
        try:
            # A host without an address, a bad certificate, … : not all are errors of AMQP.
            self._connection = SelectConnection(
                address(),
                on_open_callback=self._guarded(self._on_open),
                on_open_error_callback=self._guarded(self._on_closed),
                on_close_callback=self._guarded(self._on_closed),
                custom_ioloop=loop,
            )
            self._call_later(CONNECT_TIMEOUT, self._on_connect_timeout)
            self._call_later(TICK, self._on_tick)
            loop.start()
        except Exception as error:  # noqa: BLE001 - any of them means: no connection
            self._error = error
        finally:
            self._loop = None
            loop.close()
            self.ready.clear()
            self.blocked = False
            self._lost(self._error)

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping.wait(min(TICK, max(0.0, deadline - time.monotonic()))):
            self.moved = time.monotonic()
            if self.moved >= deadline:
                return

    def _guarded(self, callback: Callable[..., object]) -> Callable[..., None]:
        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                callback(*args, **kwargs)
            except Exception as error:
                log.exception("broker.callback_failed", extra={"connection": self.name})
                self._abort(error)

        return guarded

    def _call_later(self, seconds: float, callback: Callable[[], object]) -> None:
        if self._loop is not None:
            self._loop.call_later(seconds, self._guarded(callback))

    def _abort(self, error: BaseException) -> None:
        """End this life at once: a closing handshake may never end."""
        self._error = self._error or error
        self.ready.clear()
        try:
            if self._connection is not None and not self._connection.is_closed:
                self._connection._terminate_stream(Exception(str(error)))
        except Exception:  # noqa: BLE001 - pika's own state does not matter any more
            log.debug("broker.abort_failed", extra={"connection": self.name})
        if self._loop is not None:
            # Not at once: pika closes the socket in a callback of its own, which comes before.
            self._loop.add_callback_threadsafe(self._loop.stop)

    def _on_open(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(self._guarded(self._on_blocked))
        connection.add_on_connection_unblocked_callback(self._guarded(self._on_unblocked))
        Run(self, self._steps(), self._set_up).go()

    def _steps(self) -> Steps:
        yield from self._stand(self._items)
        yield from self._channel_steps()
        if self._lives:
            self.reconnects += 1

    def _channel_steps(self) -> Steps:
        self._channel = yield from self._open_channel()
        self._channel.add_on_close_callback(self._guarded(self._on_channel_closed))
        yield from self._setup()

    def _set_up(self) -> None:
        self.moved = self._ready_at = time.monotonic()
        if self.outage.end() is None and not self._greeted:
            log.info("broker.connected", extra={"connection": self.name})
        self._greeted = True
        self._stands = True
        if not self._stopping.is_set() and not self.blocked:
            self.ready.set()
        self._on_wake()

    def _on_wake(self) -> None:
        self._woken = False
        if self._stands and self._channel.is_open:
            self._work()
        if self._stopping.is_set():
            self._close()

    def _on_tick(self) -> None:
        self.moved = time.monotonic()
        self._call_later(TICK, self._on_tick)
        if self.ready.is_set():
            if self.moved - self._ready_at > SETTLED_AFTER:
                self._backoff.reset()
            self._tick()

    def _close(self) -> None:
        """Once: another call must not cut off what the first has still to write."""
        if self._connection is not None and self._connection.is_closing:
            return
        if self._connection is None or not self._connection.is_open or self._channel is None:
            self._abort(ConnectionAbortedError("asked to stop"))
        else:
            self._connection.close()
            stopped = ConnectionAbortedError("RabbitMQ does not answer the close")
            self._call_later(CLOSE_TIMEOUT, partial(self._abort, stopped))

    def _on_connect_timeout(self) -> None:
        if self._connection is None or not self._connection.is_open:
            self._abort(TimeoutError("no answer within the time to connect"))

    def _on_closed(self, _connection: Any, error: BaseException) -> None:
        self._error = self._error or error
        if self._loop is not None:
            self._loop.stop()

    def _on_channel_closed(self, _channel: Any, error: BaseException) -> None:
        # Simpler than to mend the channel, and as quick: everything is set up anew.
        if self._connection.is_open:
            self._abort(error)

    def _renew_channel(self) -> None:
        """Set up a new channel on the same connection, after the loss of the one before."""
        self._channel = None
        self._stands = False
        Run(self, self._channel_steps(), self._set_up).go()

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self.blocked = True
        self.ready.clear()
        reason = str(getattr(frame.method, "reason", ""))
        log.warning("broker.blocked", extra={"connection": self.name, "reason": reason})

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self.blocked = False
        log.warning("broker.unblocked", extra={"connection": self.name})
        if self._stands:
            self._set_up()

    @staticmethod
    def closed_over(error: BaseException | None) -> str:
        """RabbitMQ's own words where it closed channel or connection over a message, else nothing.

        A worker can bring about both: a header frame too large, a malformed direct reply-to.
        """
        match error:
            case ChannelClosedByBroker() | ConnectionClosedByBroker() if (
                error.reply_code != _FORCED
            ):
                return f"{error.reply_code} {error.reply_text}"
        return ""

    # --- topology ---

    def _open_channel(self) -> Generator[Step, Any, Any]:
        return (
            yield Step(
                "open a channel", lambda done: self._connection.channel(on_open_callback=done)
            )
        )

    def _stand(self, items: Iterable[Item]) -> Steps:
        """See that every item stands: declare it, or look for it where declaring is not ours."""
        channel = None
        for item in items:
            for passive in [True] if not self._declare else [False, True]:
                if channel is None or not channel.is_open:
                    channel = yield from self._open_channel()
                try:
                    yield _declare(channel, item, passive=passive)
                    break
                except ChannelClosedByBroker as error:
                    self._refused(item, error, passive=passive)
        if channel is not None and channel.is_open:
            channel.close()

    def _refused(self, item: Item, error: ChannelClosedByBroker, *, passive: bool) -> None:
        """RabbitMQ closed the channel over ``item``: what that means, and whether to go on."""
        code, text = error.reply_code, error.reply_text
        if code == _NOT_FOUND:
            raise Missing(f"{item} is missing and may not be declared")
        if code not in (_FORBIDDEN, _DIFFERS) or (passive and code == _DIFFERS):
            raise error
        if passive and not isinstance(item, Binding):
            raise Missing(f"not permitted to use {item}: {text}")
        if item not in self._warned:
            self._warned.add(item)
            if code == _DIFFERS:
                log.warning("topology.differs", extra={"item": str(item), "reason": text})
            else:  # as it should be where an operator declares
                log.info("topology.not_permitted", extra={"item": str(item), "reason": text})


class Run:
    """Runs steps one after the other on the connection's loop, then calls ``finished``.

    The close of a step's channel is thrown into the steps, so that they read as if they were
    synchronous. A step that is not answered in time ends the connection's life, unless ``late``
    is there to be told of it: then its answer is awaited further.
    """

    def __init__(
        self,
        connection: Connection,
        steps: Steps,
        finished: Callable[[], object],
        late: Callable[[], object] | None = None,
    ) -> None:
        self._connection = connection
        self._steps = steps
        self._finished = finished
        self._late = late
        self._timer: Any = None
        self._channel: Any = None

    def go(self) -> None:
        """Begin."""
        self._advance(self._steps.send, None)

    def _advance(self, resume: Callable[[Any], Step], value: Any) -> None:
        loop = self._connection._loop
        if loop is None:
            return
        if self._timer is not None:
            loop.remove_timeout(self._timer)
        self._timer = None
        try:
            step = resume(value)
        except StopIteration:
            self._channel = None  # from now on its close is no answer to a step
            self._finished()
            return
        except (Missing, ChannelClosedByBroker, TimeoutError) as error:
            self._connection._abort(error)
            return
        guarded = self._connection._guarded
        late = TimeoutError(f"RabbitMQ does not answer: {step.what}")
        give_up = self._late or partial(self._connection._abort, late)
        self._timer = loop.call_later(STEP_TIMEOUT, guarded(give_up))
        step.start(guarded(partial(self._answered, step)))

    def _answered(self, step: Step, answer: Any = None, *rest: Any) -> None:
        if isinstance(answer, Channel) and not rest:
            answer.add_on_close_callback(self._connection._guarded(self._channel_closed))
            self._channel = answer
        self._advance(self._steps.send, answer)

    def _channel_closed(self, channel: Any, error: Exception) -> None:
        if channel is self._channel and isinstance(error, ChannelClosedByBroker):
            self._advance(self._steps.throw, error)


def _declare(channel: Any, item: Item, *, passive: bool) -> Step:
    verb = "look for" if passive else "declare"
    what = f"{verb} {item}"
    match item:
        case Exchange(name, kind):
            return Step(
                what,
                lambda done: channel.exchange_declare(
                    name, kind, passive=passive, durable=True, callback=done
                ),
            )
        case Queue(name, arguments):
            given = None if passive else dict(arguments)
            return Step(
                what,
                lambda done: channel.queue_declare(
                    name, passive=passive, durable=True, arguments=given, callback=done
                ),
            )
        case Binding(queue, exchange) if passive:  # AMQP cannot ask for a binding
            return Step(what, lambda done: done())
        case Binding(queue, exchange):
            return Step(what, lambda done: channel.queue_bind(queue, exchange, "", callback=done))

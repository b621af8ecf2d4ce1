"""A connection to RabbitMQ that is owned by one thread and opened again whenever it is lost.

Only this thread uses the connection. Other threads put work into a queue of the subclass and call
``wake``. Every callback is guarded: pika takes an exception in a callback for a network fault, or
lets it end the thread while the connection is still reported as open.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from bridge.rabbitmq import pika_tables
from bridge.rabbitmq.amqp import (
    WRONG_STATE,
    IOLoop,
    Refusal,
    SelectConnection,
    Tls,
    cause,
    closed_over,
    parameters,
    refusal,
)
from bridge.rabbitmq.nodes import Address, Addresses, ConnectionLimit, Silence
from bridge.rabbitmq.setup import Declarations, Owner, Run, Steps, open_channel
from bridge.rabbitmq.topology import Item
from bridge.telemetry.outage import Outage
from bridge.threads.backoff import Backoff

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 15.0
CONNECT_TIMEOUT_OF_SEVERAL = 5.0
"""Seconds to connect while another address of the round is left. A frozen node accepts TCP
connections and never answers."""
CLOSE_TIMEOUT = 3.0
TICK = 1.0
PATIENCE = 60.0
"""Seconds without progress of the loop after which the daemon takes the part for stuck."""
BACKOFF_FIRST = 0.2
BACKOFF_CAP = 10.0
SETTLED_AFTER = 5.0
"""Seconds for which a connection must have been ready before the back-off starts at its minimum."""


class Connection(ABC):
    """A part: a thread that keeps one connection and its channel open until it is stopped.

    ``ready`` is set while the channel is set up and RabbitMQ does not block the connection. ``run``
    returns after ``stop``; ``stop`` never blocks. All addresses are tried before each back-off,
    which is capped and jittered. Before the channel is set up, ``items`` are declared, and the
    setup fails without them; ``optional`` items may be refused (see ``declarations``). A connection
    ``after`` a limit closes and waits while that keeps out one that was given it as its ``limit``.
    """

    def __init__(
        self,
        name: str,
        urls: Iterable[str],
        tls: Tls,
        items: Iterable[Item],
        *,
        declare: bool,
        optional: Iterable[Item] = (),
        limit: ConnectionLimit | None = None,
        after: ConnectionLimit | None = None,
    ) -> None:
        self.name = name
        self.ready = threading.Event()
        self.blocked = False
        self.reconnects = 0
        self.patience = PATIENCE
        self.moved = time.monotonic()
        self.outage = Outage(log, "broker.lost", "broker.connected", connection=name)
        self.node = ""
        """The current or last address, with the name of its cluster."""
        self.refusal: Refusal | None = None
        """How RabbitMQ refused the last attempt to connect."""
        self._limit, self._after = limit or ConnectionLimit(), after or ConnectionLimit()
        self._addresses = Addresses(urls)
        self._tls = tls
        self.declarations = Declarations(name, items, optional, declare=declare)
        self._greeted = False
        self._stopping = threading.Event()
        self._woken = False
        """Whether ``_work`` will be called. Cleared before that, and read after work was queued."""
        self.backoff = Backoff(BACKOFF_FIRST, BACKOFF_CAP)
        self._lives = 0
        self._loop: IOLoop | None = None
        self._connection: Any = None
        self._channel: Any = None
        self._stands = False
        """Whether the channel is set up. A message sent before that would get no confirm."""
        self._error: BaseException | None = None
        self.silence = Silence()
        self._set_up_run: Run | None = None
        self._over_a_message = False
        """Whether RabbitMQ ended the last life over a message of ours. Then there is no back-off:
        RabbitMQ is there, and one message can end two lives at most."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'ready' if self.ready.is_set() else self.outage.error}>"

    # --- implemented by subclasses; called on the connection's own thread ---

    @abstractmethod
    async def _setup(self) -> None:
        """Prepare the new channel. Called after the items were declared."""

    @abstractmethod
    def _work(self) -> None:
        """Do the work that other threads have queued. Called after ``wake`` and after a setup."""

    @abstractmethod
    def _tick(self) -> None:
        """Do periodic work. Called about once a second while ``ready``."""

    @abstractmethod
    def _lost(self, error: BaseException | None) -> None:
        """Clean up after the channel is lost. Messages in transit have an unknown outcome."""

    # --- for any thread ---

    def wake(self) -> None:
        """Have ``_work`` called soon. Several calls before that lead to one."""
        if not self._woken:
            self._woken = True
            if loop := self._loop:
                loop.add_callback_threadsafe(self.guarded(self._on_wake))

    def stop(self) -> None:
        """Have ``_work`` called once more, then close the connection."""
        self._stopping.set()
        self._woken = False
        self.wake()

    def run(self) -> None:
        """Keep the connection open until ``stop``."""
        while not self._stopping.is_set():
            if self._after.keeps_out:
                self._pause(TICK)
                continue
            address = self._addresses.next()
            self.moved = time.monotonic()
            self.live(address)
            if self._stopping.is_set():
                return
            self.refusal = refusal(self._error)
            self._limit.note(self.name, kept_out=self.refusal is Refusal.LIMIT)
            self.outage.begin(self._why(), address=address.shown)
            if self._addresses.tried_all and not self._over_a_message:
                self._pause(self.backoff.next())
            self._lives += 1

    def live(self, address: Address) -> None:
        """One life of the connection: connect; return once that fails or the connection ends."""
        pika_tables.install()
        self._error = self._channel = self._connection = self._set_up_run = None
        self.silence.restart()
        self._over_a_message = self._stands = self._woken = False
        loop: IOLoop | None = None
        try:
            loop = self._loop = IOLoop()  # fails if no file descriptor is left
            # This raises errors that are not AMQP's, too: for an unknown host, a bad certificate.
            self._connection = SelectConnection(
                parameters(address.url, self._tls, self.name, address.ip),
                on_open_callback=self.guarded(partial(self._on_open, address)),
                on_open_error_callback=self.guarded(self._on_closed),
                on_close_callback=self.guarded(self._on_closed),
                custom_ioloop=loop,
            )
            last = self._addresses.tried_all
            seconds = CONNECT_TIMEOUT if last else CONNECT_TIMEOUT_OF_SEVERAL
            self._call_later(seconds, self._on_connect_timeout)
            self._call_later(TICK, self._on_tick)
            loop.start()
        except Exception as error:  # noqa: BLE001 - any error means: no connection
            self._error = error
        finally:
            self._loop = None
            if loop is not None:
                loop.close()
            self.ready.clear()
            self.blocked = False
            self._lost(self._error)

    # --- for callbacks and steps on the connection's loop ---

    def guarded(self, callback: Callable[..., object]) -> Callable[..., None]:
        """Wrap a callback so that an exception in it ends this life of the connection."""

        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                callback(*args, **kwargs)
            except Exception as error:
                if isinstance(error, WRONG_STATE) and self._connection.is_closing:
                    return  # we are closing the connection, and the callback used it
                log.exception("broker.callback_failed", extra={"connection": self.name})
                self.abort(error)

        return guarded

    def abort(self, error: BaseException) -> None:
        """End this life without a closing handshake, which RabbitMQ may never finish."""
        self._error = self._error or error
        self.ready.clear()
        try:
            if self._connection is not None and not self._connection.is_closed:
                self._connection._terminate_stream(Exception(str(error)))
        except Exception:  # noqa: BLE001 - this connection is discarded in any case
            log.debug("broker.abort_failed", extra={"connection": self.name})
        if self._loop is not None:
            # pika closes the socket in a callback of its own. It must run before the loop stops.
            self._loop.add_callback_threadsafe(self._loop.stop)

    def _run(
        self,
        steps: Steps,
        finished: Callable[[], object] = lambda: None,
        late: Callable[[], object] | None = None,
    ) -> Run | None:
        """Run steps concurrently with the connection's other work (see Run)."""
        if self._loop is None:
            steps.close()
            return None
        owner = Owner(self.name, self.guarded, self.abort)
        return Run(self._loop, owner, steps, finished, late).go()

    def _call_later(self, seconds: float, callback: Callable[[], object]) -> None:
        if self._loop is not None:
            self._loop.call_later(seconds, self.guarded(callback))

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping.wait(min(TICK, max(0.0, deadline - time.monotonic()))):
            self.moved = time.monotonic()
            if self.moved >= deadline:
                return

    def _why(self) -> str:
        """Why the last life ended, with the request over which RabbitMQ ended the set-up."""
        why = cause(self._error) if self._error else "connection closed"
        asked = self._set_up_run.asked if self._set_up_run and closed_over(self._error) else ""
        return f"{why}; RabbitMQ was asked to {asked}" if asked else why

    # --- one life of the connection ---

    def _on_open(self, address: Address, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(self.guarded(self._on_blocked))
        connection.add_on_connection_unblocked_callback(self.guarded(self._on_unblocked))
        properties = connection.server_properties or {}
        self.node = f"{address.shown} ({properties.get('cluster_name', 'RabbitMQ')})"
        self._set_up_run = self._run(self._set_up_all(), self._set_up)

    async def _set_up_all(self) -> None:
        await self.declarations.stand(self._open_channel)
        await self.declarations.try_optional(self._open_channel)
        await self._set_up_channel()
        if self._lives:
            self.reconnects += 1

    async def _set_up_channel(self) -> None:
        self._channel = await self._open_channel()
        self._channel.add_on_close_callback(self.guarded(self._on_channel_closed))
        await self._setup()

    def _set_up(self) -> None:
        self.moved = self._ready_at = time.monotonic()
        if self.outage.end(address=self.node) is None and not self._greeted:
            log.info("broker.connected", extra={"connection": self.name, "address": self.node})
        self._greeted = True
        self._stands = True
        self._limit.note(self.name, kept_out=False)
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
        is_open = self._connection is not None and self._connection.is_open
        if is_open and (silent := self.silence.tick(self._connection.bytes_received)):
            self.abort(silent)
        if others := self._after.keeps_out:
            self.abort(ConnectionAbortedError(f"RabbitMQ's limit: gives way to {others}"))
        if not self.ready.is_set():
            return
        if self.moved - self._ready_at > SETTLED_AFTER:
            self.backoff.reset()
            self._addresses.settled()
        if self.declarations.is_retry_due():
            self._run(self.declarations.try_optional(self._open_channel))
        self._tick()

    def _close(self) -> None:
        """Close the connection, once: a second call could cut off data still to be written."""
        if self._connection is not None and self._connection.is_closing:
            return
        if self._connection is None or not self._connection.is_open or self._channel is None:
            self.abort(ConnectionAbortedError("asked to stop"))
        else:
            self._connection.close()
            stopped = ConnectionAbortedError("RabbitMQ does not answer the close")
            self._call_later(CLOSE_TIMEOUT, partial(self.abort, stopped))

    def _on_connect_timeout(self) -> None:
        if self._connection is None or not self._connection.is_open:
            self.abort(TimeoutError("no answer within the time to connect"))

    def _on_closed(self, _connection: Any, error: BaseException) -> None:
        self._error = self._error or error
        if self._loop is not None:
            self._loop.stop()

    def _on_channel_closed(self, _channel: Any, error: BaseException) -> None:
        # A new connection is simpler than a new channel here, and as quick.
        if self._connection.is_open:
            self.abort(error)

    def _renew_channel(self) -> None:
        """Set up a new channel on the same connection."""
        self._channel = None
        self._stands = False
        self._run(self._set_up_channel(), self._set_up)

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

    async def _open_channel(self) -> Any:
        return await open_channel(self._connection)

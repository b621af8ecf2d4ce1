"""Runs coroutines that await requests to RabbitMQ, one at a time, on a connection's loop.

RabbitMQ refuses a request by closing its channel. The coroutine gets that as an exception where it
awaits the request.
"""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from bridge.rabbitmq.amqp import Channel, ChannelClosedByBroker
from bridge.rabbitmq.topology import Binding, Exchange, Item, Queue

log = logging.getLogger(__name__)

STEP_TIMEOUT = 10.0
"""Seconds to wait for an answer. For a quorum queue without a leader it may never come."""

Steps = Coroutine["Step", Any, None]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A request. ``start`` sends it, and gets the callback for the answer."""

    what: str
    start: Callable[[Callable[..., None]], object]
    patience: float | None = None
    """Seconds after which the coroutine gets TimeoutError. None: after STEP_TIMEOUT without an
    answer the connection ends, unless the Run has ``late``."""

    def __await__(self) -> Any:
        return (yield self)


class Missing(Exception):
    """A needed item is missing or cannot be used; the text gives RabbitMQ's reason."""

    def __init__(self, text: str, absent: bool) -> None:
        super().__init__(text)
        self.absent = absent
        """Whether the item does not exist; else it is unavailable or not permitted."""


class Run:
    """Runs the steps of a coroutine on the connection's loop, then calls ``finished``.

    If a step without a ``patience`` gets no answer within STEP_TIMEOUT, ``late`` is called and the
    wait goes on; without ``late``, ``abort`` ends the connection. ``abort`` is also called with the
    coroutine's exception. Callbacks are wrapped by ``guarded``.
    """

    def __init__(
        self,
        loop: Any,
        steps: Steps,
        finished: Callable[[], object],
        late: Callable[[], object] | None = None,
        *,
        connection: str,
        guarded: Callable[[Callable[..., object]], Callable[..., None]],
        abort: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._guarded = guarded
        self._abort = abort
        self._steps = steps
        self._finished = finished
        self._late = late
        self._timer: Any = None
        self._channel: Any = None
        self._turn = 0

    def go(self) -> None:
        """Send the first request."""
        self._advance(None)

    def _advance(self, answer: Any) -> None:
        self._turn += 1
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
            self._timer = None
        failed = isinstance(answer, BaseException)
        try:
            step = self._steps.throw(answer) if failed else self._steps.send(answer)
        except StopIteration:
            self._channel = None  # a later close of the channel is no answer to a step
            self._finished()
            return
        except (Missing, ChannelClosedByBroker, TimeoutError) as error:
            self._abort(error)
            return
        turn, guarded = self._turn, self._guarded
        seconds = STEP_TIMEOUT if step.patience is None else step.patience
        give_up = guarded(partial(self._give_up, step, turn))
        self._timer = self._loop.call_later(seconds, give_up)
        step.start(guarded(partial(self._answered, turn)))

    def _give_up(self, step: Step, turn: int) -> None:
        if turn != self._turn:
            return
        late = TimeoutError(f"RabbitMQ does not answer: {step.what}")
        log.debug("broker.late", extra={"connection": self._connection, "step": step.what})
        if step.patience is not None:
            self._advance(late)
        elif self._late is not None:
            self._late()
        else:
            self._abort(late)

    def _answered(self, turn: int, answer: Any = None, *rest: Any) -> None:
        if turn != self._turn:
            return  # the answer came after the step had timed out
        if isinstance(answer, Channel) and not rest:
            answer.add_on_close_callback(self._guarded(self._channel_closed))
            self._channel = answer
        self._advance(answer)

    def _channel_closed(self, channel: Any, error: Exception) -> None:
        if channel is self._channel and isinstance(error, ChannelClosedByBroker):
            self._advance(error)


def declare(channel: Any, item: Item, *, passive: bool, patience: float | None = None) -> Step:
    """The request that declares an item; if ``passive``, it only checks that the item exists."""
    what = f"{'look for' if passive else 'declare'} {item}"
    return Step(what, partial(_declare, channel, item, passive), patience)


def _declare(channel: Any, item: Item, passive: bool, done: Callable[..., None]) -> None:
    match item:
        case Exchange(name, kind):
            channel.exchange_declare(name, kind, passive=passive, durable=True, callback=done)
        case Queue(name, arguments):
            given = None if passive else dict(arguments)
            channel.queue_declare(
                name, passive=passive, durable=True, arguments=given, callback=done
            )
        case Binding(_, _) if passive:  # AMQP cannot check a binding
            done()
        case Binding(queue, exchange):
            channel.queue_bind(queue, exchange, "", callback=done)

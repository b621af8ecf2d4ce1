"""What makes a channel ready: requests to RabbitMQ that a conversation awaits, one at a time.

RabbitMQ refuses a request by closing its channel. That is raised where the request is awaited, so
that a setup reads from top to bottom.
"""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from bridge.rabbitmq.amqp import Channel, ChannelClosedByBroker
from bridge.rabbitmq.topology import Binding, Exchange, Item, Queue
from bridge.scheduling.conversation import Ended, advance

log = logging.getLogger(__name__)

STEP_TIMEOUT = 10.0
"""Seconds: RabbitMQ may never answer for a quorum queue that has no leader."""

Steps = Coroutine["Step", Any, None]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One request: ``start`` sends it and is given what to call with the answer."""

    what: str
    start: Callable[[Callable[..., None]], object]
    patience: float | None = None
    """Seconds after which TimeoutError is raised where the answer is awaited; without them an
    answer that does not come within STEP_TIMEOUT ends the connection."""

    def __await__(self) -> Any:
        return (yield self)


class Missing(Exception):
    """Something that must stand in RabbitMQ cannot be had; the text gives RabbitMQ's reason."""

    def __init__(self, text: str, absent: bool) -> None:
        super().__init__(text)
        self.absent = absent
        """Whether it does not exist; else it is out of reach, or not permitted."""


class Run:
    """Runs steps one after the other on the connection's loop, then calls ``finished``.

    A step that is not answered in time ends the connection's life by ``abort``, unless it has a
    patience of its own, or ``late`` is there to be called: then its answer is awaited further.
    Every callback of pika's is ``guarded`` first.
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
        """Begin."""
        self._advance(None)

    def _advance(self, answer: Any) -> None:
        self._turn += 1
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
            self._timer = None
        try:
            step = advance(self._steps, answer)
        except (Missing, ChannelClosedByBroker, TimeoutError) as error:
            self._abort(error)
            return
        if isinstance(step, Ended):
            self._channel = None  # from now on its close is no answer to a step
            self._finished()
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
            return  # it came after its step was given up
        if isinstance(answer, Channel) and not rest:
            answer.add_on_close_callback(self._guarded(self._channel_closed))
            self._channel = answer
        self._advance(answer)

    def _channel_closed(self, channel: Any, error: Exception) -> None:
        if channel is self._channel and isinstance(error, ChannelClosedByBroker):
            self._advance(error)


def declare(channel: Any, item: Item, *, passive: bool, patience: float | None = None) -> Step:
    """The request that declares an item, or looks for it where it is ``passive``."""
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
        case Binding(_, _) if passive:  # AMQP cannot ask for a binding
            done()
        case Binding(queue, exchange):
            channel.queue_bind(queue, exchange, "", callback=done)

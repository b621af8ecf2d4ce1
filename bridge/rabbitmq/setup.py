"""Requests to RabbitMQ on a connection's loop: coroutines that await them, and declarations.

RabbitMQ refuses a request by closing its channel. The coroutine gets that as an exception where it
awaits the request. So declarations use channels of their own, never the channel of tasks or
replies.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self

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
    """A needed item is missing or cannot be used; the text gives RabbitMQ's reasons."""

    def __init__(self, text: str, *, absent: bool = False, forbidden: bool = False) -> None:
        super().__init__(text)
        self.absent = absent
        """Whether the item does not exist."""
        self.forbidden = forbidden
        """Whether we may not use it. If neither, a node of RabbitMQ is away."""


class Owner(NamedTuple):
    """What a run needs of its connection."""

    name: str
    guarded: Callable[[Callable[..., object]], Callable[..., None]]
    """Wraps each callback, so that an exception in it ends the connection."""
    abort: Callable[[BaseException], None]
    """Ends the connection."""


class Run:
    """Runs the steps of a coroutine on the connection's loop, then calls ``finished``.

    If a step without a ``patience`` gets no answer within STEP_TIMEOUT, ``late`` is called and the
    wait goes on; without ``late``, the owner's ``abort`` ends the connection. ``abort`` is also
    called with the coroutine's exception.
    """

    def __init__(
        self,
        loop: Any,
        of: Owner,
        steps: Steps,
        finished: Callable[[], object],
        late: Callable[[], object] | None = None,
    ) -> None:
        self._loop = loop
        self._connection, self._guarded, self._abort = of
        self._steps = steps
        self._finished = finished
        self._late = late
        self._timer: Any = None
        self._channel: Any = None
        self._turn = 0
        self.asked = ""
        """The request whose answer is awaited, as a verb and its object; empty at the end."""

    def go(self) -> Self:
        """Send the first request; return this object."""
        self._advance(None)
        return self

    def _advance(self, answer: Any) -> None:
        self._turn += 1
        if self._timer is not None:
            self._loop.remove_timeout(self._timer)
            self._timer = None
        failed = isinstance(answer, BaseException)
        try:
            step = self._steps.throw(answer) if failed else self._steps.send(answer)
        except StopIteration:
            self.asked = ""
            self._channel = None  # a later close of the channel is no answer to a step
            self._finished()
            return
        except (Missing, ChannelClosedByBroker, TimeoutError) as error:
            self._abort(error)
            return
        turn, guarded, self.asked = self._turn, self._guarded, step.what
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


def open_channel(connection: Any) -> Step:
    """The request for a new channel."""
    return Step("open a channel", lambda done: connection.channel(on_open_callback=done))


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


OPTIONAL_TIMEOUT = 2.0
"""Seconds to wait for the declaration of an optional item."""
OPTIONAL_RETRY = 30.0
"""Seconds between two tries of the optional items while one is lacking."""

_FORBIDDEN, _NOT_FOUND, _DIFFERS = 403, 404, 406
_ABSENT = ("NOT_FOUND - no queue", "NOT_FOUND - no exchange")

OpenChannel = Callable[[], Awaitable[Any]]


class Declarations:
    """The items that one connection needs, and optional ones.

    Without ``declare``, items are checked passively. Owned by the connection's thread; other
    threads may read ``lacks``.
    """

    def __init__(
        self, connection: str, needed: Iterable[Item], optional: Iterable[Item], *, declare: bool
    ) -> None:
        self.lacks: Mapping[Item, str] = {}
        """The optional items that could not be declared, with RabbitMQ's reason. The mapping is
        replaced, never changed, so other threads may read it."""
        self._connection = connection
        self._needed = tuple(needed)
        self._optional = tuple(optional)
        self._declare = declare
        self._warned: set[Item] = set()
        self.retry_after = OPTIONAL_RETRY
        self._retry_at = 0.0

    def need(self, items: Iterable[Item]) -> None:
        """Replace the needed items. They are declared by the next ``stand``."""
        self._needed = tuple(items)

    def have_exchange(self, name: str) -> bool:
        """Whether an exchange of this name is among the items."""
        wanted = (*self._needed, *self._optional)
        return any(isinstance(each, Exchange) and each.name == name for each in wanted)

    def why_lacking(self, exchange: str) -> str:
        """RabbitMQ's reason why an optional exchange is lacking; empty if it is not."""
        for item, why in self.lacks.items():
            if isinstance(item, Exchange) and item.name == exchange:
                return why
        return ""

    def is_retry_due(self) -> bool:
        """Whether lacking items should be tried now; true once in ``retry_after`` seconds."""
        now = time.monotonic()
        if not self.lacks or now < self._retry_at:
            return False
        self._retry_at = now + self.retry_after
        return True

    async def stand(self, open_channel: OpenChannel) -> None:
        """Declare the needed items. Raises as ``stand_all`` does, without TimeoutError."""
        await self.stand_all(open_channel, self._needed)

    async def try_optional(self, open_channel: OpenChannel) -> None:
        """Declare the optional items, and record the refused ones in ``lacks``."""
        lacks: dict[Item, str] = {}
        for item in self._optional:
            try:
                await self.stand_all(open_channel, [item], OPTIONAL_TIMEOUT)
            except (Missing, TimeoutError) as error:
                lacks[item] = str(error)
            except ChannelClosedByBroker as error:
                lacks[item] = f"{error.reply_code} {error.reply_text}"
        for item, why in lacks.items():
            if self.lacks.get(item) != why:
                extra = {"item": str(item), "connection": self._connection, "reason": why}
                log.warning("topology.lacking", extra=extra)
        for item in self.lacks.keys() - lacks.keys():
            log.info("topology.found", extra={"item": str(item), "connection": self._connection})
        self.lacks = lacks
        self._retry_at = time.monotonic() + self.retry_after

    async def stand_all(
        self, open_channel: OpenChannel, items: Iterable[Item], patience: float | None = None
    ) -> Mapping[Item, str]:
        """Declare these items; check an item passively if we may not declare it or it differs.

        Returns RabbitMQ's reasons for the items that are used as they are. Raises Missing if an
        item is missing or we may not use it, TimeoutError without an answer within ``patience``
        seconds, and ChannelClosedByBroker for any other refusal.
        """
        as_they_are: dict[Item, str] = {}
        channel = None
        try:
            for item in items:
                refusal: ChannelClosedByBroker | None = None
                for passive in [True] if not self._declare else [False, True]:
                    if channel is None or not channel.is_open:
                        channel = await open_channel()
                    try:
                        await declare(channel, item, passive=passive, patience=patience)
                        break
                    except ChannelClosedByBroker as error:
                        _raise_if_final(item, error, refusal, passive=passive)
                        refusal = error
                if refusal is not None:
                    as_they_are[item] = refusal.reply_text
                    self._log_once(item, refusal)
        finally:
            if channel is not None and channel.is_open:
                channel.close()
        return as_they_are

    def _log_once(self, item: Item, refusal: ChannelClosedByBroker) -> None:
        """Log that the item stands, and is used as it is."""
        if item not in self._warned:
            self._warned.add(item)
            extra = {"item": str(item), "reason": refusal.reply_text}
            if refusal.reply_code == _DIFFERS:
                log.warning("topology.differs", extra=extra)
            else:  # expected if an operator declares the items
                log.info("topology.not_permitted", extra=extra)


def _raise_if_final(
    item: Item,
    error: ChannelClosedByBroker,
    before: ChannelClosedByBroker | None,
    *,
    passive: bool,
) -> None:
    """Return if ``item`` may stand nevertheless; ``before`` is the refusal to declare it."""
    code, text = error.reply_code, error.reply_text
    if code == _NOT_FOUND:
        absent = text.startswith(_ABSENT)  # another 404: its node is down, or it has no leader
        told = f"{item} {'is missing' if absent else 'cannot be had'}: {text}"
        if before is not None:
            told += f"; declaring it was refused: {before.reply_text}"
        raise Missing(told, absent=absent)
    if code not in (_FORBIDDEN, _DIFFERS) or (passive and code == _DIFFERS):
        raise error
    if passive and not isinstance(item, Binding):
        raise Missing(f"not permitted to use {item}: {text}", forbidden=True)

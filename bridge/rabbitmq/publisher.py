"""Publish with pipelined confirms: what is handed over is confirmed, or comes back with a reason.

An outcome that a lost connection leaves unknown is no outcome: the message is published again,
first in line and in order, under the same ``message_id`` and a new ``swf-bridge-attempt``.
"""

import itertools
import logging
import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bridge.message.message import ATTEMPT_HEADER, Message
from bridge.rabbitmq.amqp import ChannelClosedByBroker, Tls, closed_over, to_pika
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.setup import Step
from bridge.rabbitmq.topology import Item

log = logging.getLogger(__name__)

WINDOW = 256
"""Messages on their way to a confirm at once: more gains nothing (measured in the research)."""

WINDOW_BYTES = 8 * 1024 * 1024
"""Bytes of bodies on their way at once; one alone may have more."""

CONFIRM_TIMEOUT = 20.0
"""Seconds after which a confirm is not waited for any more. RabbitMQ before 3.12 may never send it
(a quorum queue deleted under traffic), so the connection is made anew and the message sent again.
"""

RENEW_FIRST = 2.0
"""Seconds after a nack after which the channel is made anew. RabbitMQ 3.10 nacks all that a channel
sends to a quorum queue whose leader died as the channel first published to it, until the dead node
is back; on a new channel it takes them."""
RENEW_CAP = 60.0
"""The same, doubled each time, while nacks go on: a full queue nacks on a new channel too."""

_NOT_FOUND = 404


class Fate(Enum):
    """What became of a publish."""

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    """No queue is bound for it."""
    REFUSED = "refused"
    """RabbitMQ closes the channel or the connection over it, or it cannot be encoded."""
    NACKED = "nacked"
    """A queue would not take it now: it is full, or failing."""
    EXPIRED = "expired"
    """Its time was up before it could be sent."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a publish, and why."""

    fate: Fate
    detail: str = ""
    seconds: float = 0.0
    attempts: int = 1


Done = Callable[[Receipt], object]
"""Called once, on the publisher's thread, or at once where too much waits: it must not block."""


class _Item:
    """A message on its way, through as many attempts as it takes."""

    __slots__ = ("alone", "attempt", "attempts", "done", "message", "returned", "sent_at")

    def __init__(self, message: Message, done: Done, *, alone: bool) -> None:
        self.message = message
        self.done = done
        self.alone = alone
        self.attempt = ""
        self.attempts = 0
        self.returned = ""
        self.sent_at = 0.0


class Publisher(Connection):
    """A part that owns a connection on which messages are published.

    A message for an exchange that is known to be lacking is nacked: it may be had later. So is one
    that comes while ``most_waiting`` wait already, where there is that bound.
    """

    def __init__(
        self,
        urls: Iterable[str],
        tls: Tls,
        items: Iterable[Item],
        *,
        declare: bool,
        optional: Iterable[Item] = (),
        name: str = "publisher",
        most_waiting: float = math.inf,
    ) -> None:
        super().__init__(name, urls, tls, items, declare=declare, optional=optional)
        self._outbox: deque[_Item] = deque()
        """Any thread appends; the connection's own alone looks and takes. ``most_waiting`` may be
        passed by as many as append at once."""
        self._most_waiting = most_waiting
        self._bytes = 0
        """Bytes of bodies on their way."""
        self._on_the_way: OrderedDict[int, _Item] = OrderedDict()
        self._attempts: dict[str, _Item] = {}
        self._number = 0
        self._life = ""
        self._nacked_at = 0.0
        self._renew_at = math.inf
        self._renew_after = RENEW_FIRST
        self._renewing = False
        """Nothing is sent until what is on its way has an outcome: then the channel is renewed."""

    @property
    def outstanding(self) -> int:
        """Messages handed over that have no receipt yet."""
        return len(self._outbox) + len(self._on_the_way)

    def publish(self, message: Message, done: Done, *, alone: bool = False) -> None:
        """Publish ``message`` as soon as it can be; ``done`` is told what became of it.

        Never blocks; what is handed over while RabbitMQ is away waits, in order. A message that
        was refused before goes ``alone``, so that no other shares its channel.
        """
        if len(self._outbox) >= self._most_waiting:
            done(Receipt(Fate.NACKED, "too much waits for RabbitMQ"))
            return
        self._outbox.append(_Item(message, done, alone=alone))
        self.wake()

    # --- on the connection's own thread ---

    async def _setup(self) -> None:
        channel = self._channel
        channel.add_on_return_callback(self.guarded(self._on_return))
        await Step(
            "confirm deliveries",
            lambda done: channel.confirm_delivery(self.guarded(self._on_confirm), callback=done),
        )
        self._number = 0
        self._life = secrets.token_hex(4)
        self._renewing = False
        self._renew_at = math.inf

    def _work(self) -> None:
        if self._renewing and not self._on_the_way:
            nacked = self._channel
            self._renew_channel()
            if nacked.is_open:
                nacked.close()
            return
        while self._outbox and not self.blocked and self._has_room():
            self._send(self._outbox.popleft())

    def _has_room(self) -> bool:
        if self._renewing:
            return False
        if not self._on_the_way:
            return True
        alone = self._outbox[0].alone or next(iter(self._on_the_way.values())).alone
        return not alone and len(self._on_the_way) < WINDOW and self._bytes < WINDOW_BYTES

    def _send(self, item: _Item) -> None:
        message = item.message
        if self.lacks and (why := self._declarations.why_lacking(message.exchange)):
            self._resolve(item, Fate.NACKED, why)
            return
        if message.until is not None and message.until <= time.monotonic():
            self._resolve(item, Fate.EXPIRED, "its time is up")
            return
        number = self._number + 1
        item.attempt = f"{self._life}-{number}"
        try:
            self._channel.basic_publish(
                message.exchange,
                message.routing_key,
                message.body,
                to_pika(message, item.attempt, ATTEMPT_HEADER),
                mandatory=message.mandatory,
            )
        except Exception as error:
            if not self._channel.is_open:
                self._outbox.appendleft(item)
                raise
            # pika encodes before it writes: the channel is as it was, and the number is not used.
            self._resolve(item, Fate.REFUSED, f"cannot be encoded: {type(error).__name__}")
            return
        self._number = number
        item.attempts += 1
        item.sent_at = time.monotonic()
        item.returned = ""
        self._on_the_way[number] = item
        self._bytes += len(message.body)
        self._attempts[item.attempt] = item

    def _on_return(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        # A return comes before its confirm, but not right before it, and bears no number.
        attempt = (properties.headers or {}).get(ATTEMPT_HEADER)
        if item := self._attempts.get(str(attempt)):
            item.returned = f"{method.reply_code} {method.reply_text}"

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        acked = method.NAME == "Basic.Ack"
        for number in self._confirmed(method.delivery_tag, multiple=method.multiple):
            item = self._on_the_way.pop(number)
            self._bytes -= len(item.message.body)
            if not acked:
                self._nacked()
                self._resolve(item, Fate.NACKED, "a queue did not take it")
            elif item.returned:
                self._resolve(item, Fate.UNROUTABLE, item.returned)
            else:
                self._resolve(item, Fate.CONFIRMED)
        self._work()

    def _nacked(self) -> None:
        now = time.monotonic()
        if now - self._nacked_at > 2 * RENEW_CAP:
            self._renew_after = RENEW_FIRST
        self._nacked_at = now
        if self._renew_at == math.inf:
            self._renew_at = now + self._renew_after
            self._renew_after = min(RENEW_CAP, 2 * self._renew_after)

    def _confirmed(self, tag: int, *, multiple: bool) -> list[int]:
        if not multiple:
            return [tag] if tag in self._on_the_way else []
        return list(itertools.takewhile(lambda number: number <= tag, self._on_the_way))

    def _resolve(self, item: _Item, fate: Fate, detail: str = "") -> None:
        self._attempts.pop(item.attempt, None)
        seconds = time.monotonic() - item.sent_at if item.sent_at else 0.0
        try:
            item.done(Receipt(fate, detail, seconds, item.attempts))
        except Exception:
            log.exception("publish.receipt_failed", extra={"fate": fate.value})

    def _tick(self) -> None:
        oldest = next(iter(self._on_the_way.values()), None)
        if oldest and not self.blocked and time.monotonic() - oldest.sent_at > CONFIRM_TIMEOUT:
            self.abort(TimeoutError(f"no confirm within {CONFIRM_TIMEOUT:.0f} seconds"))
        elif not self._renewing and time.monotonic() >= self._renew_at:
            log.debug("broker.channel_renewed", extra={"connection": self.name})
            self._renewing = True
            self._work()

    def _on_unblocked(self, connection: Any, frame: Any) -> None:
        now = time.monotonic()
        for item in self._on_the_way.values():
            item.sent_at = now
        super()._on_unblocked(connection, frame)

    def _on_channel_closed(self, channel: Any, error: BaseException) -> None:
        """What one message may not do must not cost the others a connection.

        A missing exchange (404) is declared with the next connection.
        """
        if channel is not self._channel:
            return  # one that was renewed
        forbidden = isinstance(error, ChannelClosedByBroker) and error.reply_code != _NOT_FOUND
        if forbidden and self._connection.is_open:
            self._lost(error)
            self._renew_channel()
        else:
            super()._on_channel_closed(channel, error)

    def _lost(self, error: BaseException | None) -> None:
        """Publish again what has no outcome: one by one, where RabbitMQ closed over one of them."""
        suspects = list(self._on_the_way.values())
        self._on_the_way.clear()
        self._bytes = 0
        self._attempts.clear()
        closed = closed_over(error)
        self._over_a_message = bool(closed and suspects)
        # A connection also ends for reasons of RabbitMQ's own: who is to blame shows alone.
        proven = isinstance(error, ChannelClosedByBroker) or all(item.alone for item in suspects)
        if closed and proven and len(suspects) == 1 and not self._is_mended(error, suspects[0]):
            self._resolve(suspects[0], Fate.REFUSED, closed)
            return
        for item in suspects:
            item.alone = item.alone or bool(closed)
        self._outbox.extendleft(reversed(suspects))

    def _is_mended(self, error: BaseException | None, item: _Item) -> bool:
        """Whether the message's exchange was deleted, which the next setup declares again."""
        missing = isinstance(error, ChannelClosedByBroker) and error.reply_code == _NOT_FOUND
        return missing and self._declarations.have_exchange(item.message.exchange)

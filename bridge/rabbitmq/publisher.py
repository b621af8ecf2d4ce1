"""Publishes with pipelined confirms: each message gets one receipt, a confirm or a reason.

If a connection is lost before the confirm, the message is published again, before waiting messages
and in order, with the same ``message_id`` and a new ``swf-bridge-attempt``.
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
from bridge.rabbitmq.nodes import ConnectionLimit
from bridge.rabbitmq.setup import Step
from bridge.rabbitmq.topology import Item

log = logging.getLogger(__name__)

WINDOW = 256
"""Maximum number of unconfirmed messages. A larger window was not faster when measured."""

WINDOW_BYTES = 8 * 1024 * 1024
"""Nothing more is sent while unconfirmed bodies have this many bytes."""

CONFIRM_TIMEOUT = 20.0
"""Seconds to wait for a confirm. RabbitMQ before 3.12 may never send it (a quorum queue deleted
under traffic). Then the connection is closed and the message published again on a new one."""

RENEW_FIRST = 2.0
"""Seconds from a nack to the opening of a new channel. If the leader of a quorum queue dies while a
channel publishes to it for the first time, RabbitMQ 3.10 nacks all messages of that channel to the
queue until the node is back, and accepts them on a new channel."""
RENEW_CAP = 60.0
"""Maximum of that delay, which doubles while nacks go on: a full queue nacks on any channel."""

_NOT_FOUND = 404


class Fate(Enum):
    """The result of a publish."""

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    """No queue is bound for the routing key."""
    REFUSED = "refused"
    """RabbitMQ closes the channel or connection over the message, or it cannot be encoded."""
    NACKED = "nacked"
    """Not accepted now: a queue is full or failing, an exchange missing, or too much waits here."""
    EXPIRED = "expired"
    """The message's time limit was reached before it was sent."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a publish, the reason, seconds since the last send, and number of sends."""

    fate: Fate
    detail: str = ""
    seconds: float = 0.0
    attempts: int = 1


Done = Callable[[Receipt], object]
"""Called once, on the publisher's thread or within ``publish``. Must not block."""


class _Item:
    """A message that has no receipt yet, over all its attempts."""

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

    The publisher itself nacks a message for an optional exchange that is lacking, and a message
    that is handed over while ``most_waiting`` messages wait. ``limits``: see Connection.
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
        **limits: ConnectionLimit,
    ) -> None:
        super().__init__(name, urls, tls, items, declare=declare, optional=optional, **limits)
        self._outbox: deque[_Item] = deque()
        """Any thread may append; only the connection's thread takes. Threads that append at the
        same time may exceed ``most_waiting``."""
        self._most_waiting = most_waiting
        self.confirm_timeout = CONFIRM_TIMEOUT
        self.renew_cap = RENEW_CAP
        self._bytes = 0
        """Bytes of unconfirmed bodies."""
        self._on_the_way: OrderedDict[int, _Item] = OrderedDict()
        self._attempts: dict[str, _Item] = {}
        self._number = 0
        self._life = ""
        self._nacked_at = 0.0
        self._renew_at = math.inf
        self._renew_after = RENEW_FIRST
        self._renewing = False
        """Nothing is sent until all sent messages have an outcome; then a new channel is opened."""

    @property
    def outstanding(self) -> int:
        """Number of messages without a receipt."""
        return len(self._outbox) + len(self._on_the_way)

    def publish(self, message: Message, done: Done, *, alone: bool = False) -> None:
        """Publish ``message`` as soon as possible, then call ``done`` with the receipt.

        Never blocks. While RabbitMQ is away, messages wait in order. A message sent ``alone`` is
        the only unconfirmed one: if RabbitMQ closes over it, no other message is a suspect.
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
        if self.declarations.lacks and (why := self.declarations.why_lacking(message.exchange)):
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
            # pika encodes before it writes, so nothing was sent and the number is still free.
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
        # A return comes some time before its confirm, and without a delivery tag.
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
        if now - self._nacked_at > 2 * self.renew_cap:
            self._renew_after = RENEW_FIRST
        self._nacked_at = now
        if self._renew_at == math.inf:
            self._renew_at = now + self._renew_after
            self._renew_after = min(self.renew_cap, 2 * self._renew_after)

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
        if oldest and not self.blocked and time.monotonic() - oldest.sent_at > self.confirm_timeout:
            self.abort(TimeoutError(f"no confirm within {self.confirm_timeout:.0f} seconds"))
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
        """Open a new channel if RabbitMQ refused a message, so that the connection survives.

        A missing exchange (404) ends the connection: the next one declares the exchange again.
        """
        if channel is not self._channel:
            return  # an earlier channel, which was replaced
        forbidden = isinstance(error, ChannelClosedByBroker) and error.reply_code != _NOT_FOUND
        if forbidden and self._connection.is_open:
            self._lost(error)
            self._renew_channel()
        else:
            super()._on_channel_closed(channel, error)

    def _lost(self, error: BaseException | None) -> None:
        """Queue unconfirmed messages again; one by one if RabbitMQ closed over one of them."""
        suspects = list(self._on_the_way.values())
        self._on_the_way.clear()
        self._bytes = 0
        self._attempts.clear()
        closed = closed_over(error)
        self._over_a_message = bool(closed and suspects)
        # A connection may also end for another reason: only a message sent alone is proven guilty.
        proven = isinstance(error, ChannelClosedByBroker) or all(item.alone for item in suspects)
        if closed and proven and len(suspects) == 1 and not self._is_mended(error, suspects[0]):
            self._resolve(suspects[0], Fate.REFUSED, closed)
            return
        for item in suspects:
            item.alone = item.alone or bool(closed)
        self._outbox.extendleft(reversed(suspects))

    def _is_mended(self, error: BaseException | None, item: _Item) -> bool:
        """Whether the message's exchange is missing and the next connection declares it."""
        missing = isinstance(error, ChannelClosedByBroker) and error.reply_code == _NOT_FOUND
        return missing and self.declarations.have_exchange(item.message.exchange)

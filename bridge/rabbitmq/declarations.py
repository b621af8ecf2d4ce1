"""Declares the exchanges, queues and bindings of a connection, and records the refused ones.

RabbitMQ refuses a declaration by closing the channel. So declarations use channels of their own,
never the channel of tasks or replies.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from bridge.rabbitmq.amqp import ChannelClosedByBroker
from bridge.rabbitmq.setup import Missing, declare
from bridge.rabbitmq.topology import Binding, Exchange, Item

log = logging.getLogger(__name__)

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
    ) -> None:
        """Declare these items; check an item passively if we may not declare it or it differs.

        Raises Missing if an item is missing or we may not use it, TimeoutError without an answer
        within ``patience`` seconds, and ChannelClosedByBroker for any other refusal.
        """
        channel = None
        try:
            for item in items:
                for passive in [True] if not self._declare else [False, True]:
                    if channel is None or not channel.is_open:
                        channel = await open_channel()
                    try:
                        await declare(channel, item, passive=passive, patience=patience)
                        break
                    except ChannelClosedByBroker as error:
                        self._refused(item, error, passive=passive)
        finally:
            if channel is not None and channel.is_open:
                channel.close()

    def _refused(self, item: Item, error: ChannelClosedByBroker, *, passive: bool) -> None:
        """Handle a refusal of ``item``: raise if it is final, return to go on passively."""
        code, text = error.reply_code, error.reply_text
        if code == _NOT_FOUND:
            absent = text.startswith(_ABSENT)  # another 404: its node is down, or it has no leader
            raise Missing(f"{item} {'is missing' if absent else 'cannot be had'}: {text}", absent)
        if code not in (_FORBIDDEN, _DIFFERS) or (passive and code == _DIFFERS):
            raise error
        if passive and not isinstance(item, Binding):
            raise Missing(f"not permitted to use {item}: {text}", absent=False)
        if item not in self._warned:
            self._warned.add(item)
            if code == _DIFFERS:
                log.warning("topology.differs", extra={"item": str(item), "reason": text})
            else:  # expected if an operator declares the items
                log.info("topology.not_permitted", extra={"item": str(item), "reason": text})

"""See that what a connection needs stands in RabbitMQ, or note what cannot be had, and why.

RabbitMQ refuses a declaration by closing the channel on which it is asked for: each refusal costs
one, and none of them is the channel that tasks or replies go over.
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
"""Seconds to wait for the declaration of what tasks and replies can do without."""
OPTIONAL_RETRY = 30.0
"""Seconds between two tries of what could not be had."""

_FORBIDDEN, _NOT_FOUND, _DIFFERS = 403, 404, 406
_ABSENT = ("NOT_FOUND - no queue", "NOT_FOUND - no exchange")

OpenChannel = Callable[[], Awaitable[Any]]


class Declarations:
    """What one connection wants to stand: items that it needs, and optional ones.

    Items are declared, or only looked for where declaring is not ours. Owned by the connection's
    thread, but for ``lacks``.
    """

    def __init__(
        self, connection: str, needed: Iterable[Item], optional: Iterable[Item], *, declare: bool
    ) -> None:
        self.lacks: Mapping[Item, str] = {}
        """The optional items that cannot be had, with RabbitMQ's reason. Replaced and never
        changed, so that other threads may read it."""
        self._connection = connection
        self._needed = tuple(needed)
        self._optional = tuple(optional)
        self._declare = declare
        self._warned: set[Item] = set()
        self._retry_at = 0.0

    def need(self, items: Iterable[Item]) -> None:
        """From the next ``stand`` on need these instead."""
        self._needed = tuple(items)

    def have_exchange(self, name: str) -> bool:
        """Whether an exchange of this name is declared here."""
        wanted = (*self._needed, *self._optional)
        return any(isinstance(each, Exchange) and each.name == name for each in wanted)

    def why_lacking(self, exchange: str) -> str:
        """Why an optional exchange cannot be had; nothing where it can."""
        for item, why in self.lacks.items():
            if isinstance(item, Exchange) and item.name == exchange:
                return why
        return ""

    def is_retry_due(self) -> bool:
        """Whether it is time to try again what is lacking; true once a time."""
        now = time.monotonic()
        if not self.lacks or now < self._retry_at:
            return False
        self._retry_at = now + OPTIONAL_RETRY
        return True

    async def stand(self, open_channel: OpenChannel) -> None:
        """See that every needed item stands. Raises Missing where one cannot be had."""
        await self.stand_all(open_channel, self._needed)

    async def try_optional(self, open_channel: OpenChannel) -> None:
        """Have what can be had of the optional items, and note what cannot, and why."""
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
        self._retry_at = time.monotonic() + OPTIONAL_RETRY

    async def stand_all(
        self, open_channel: OpenChannel, items: Iterable[Item], patience: float | None = None
    ) -> None:
        """See that these items stand.

        Raises Missing where one cannot be had, TimeoutError where RabbitMQ does not answer within
        ``patience`` seconds, and ChannelClosedByBroker where it refuses for another reason.
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
        """RabbitMQ closed the channel over ``item``: what that means, and whether to go on."""
        code, text = error.reply_code, error.reply_text
        if code == _NOT_FOUND:
            absent = text.startswith(_ABSENT)  # else its node is down, or it has no leader
            raise Missing(f"{item} {'is missing' if absent else 'cannot be had'}: {text}", absent)
        if code not in (_FORBIDDEN, _DIFFERS) or (passive and code == _DIFFERS):
            raise error
        if passive and not isinstance(item, Binding):
            raise Missing(f"not permitted to use {item}: {text}", absent=False)
        if item not in self._warned:
            self._warned.add(item)
            if code == _DIFFERS:
                log.warning("topology.differs", extra={"item": str(item), "reason": text})
            else:  # as it should be where an operator declares
                log.info("topology.not_permitted", extra={"item": str(item), "reason": text})

"""The consumers of a queue on one channel, and their prefetch."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from bridge.rabbitmq.amqp import ChannelClosedByBroker
from bridge.rabbitmq.setup import OPTIONAL_TIMEOUT, Step

log = logging.getLogger(__name__)

FORMER_EMPTIES = 5.0
"""Seconds for which a former queue is consumed. If it is not empty then, the next start goes on."""

SPARE = 64
"""If deliveries that wait leave less than this of the prefetch, it is raised."""

OnMessage = Callable[..., None]
"""pika's callback, with channel, method, properties and body."""


class Subscription:
    """The consumers of one queue on the current channel. Owned by the connection's thread.

    If ``exclusive``, no other consumer of the queue is allowed. ``former`` names the queue of an
    earlier version: its messages are consumed too, and then it is deleted.
    """

    def __init__(self, queue: str, *, exclusive: bool, former: str) -> None:
        self.queue = queue
        self.exclusive = exclusive
        self.former = former
        self.former_empties = FORMER_EMPTIES
        self.prefetch = 0
        """Maximum number of unacknowledged deliveries, summed over the consumers."""
        self._doubling = False
        self._tags: list[str] = []
        """Consumer tags: the first consumer's, then those of consumers that raise the prefetch."""

    @property
    def is_raised(self) -> bool:
        """Whether there is more than the first consumer, and no other on the way."""
        return len(self._tags) > 1 and not self._doubling

    def is_crowded(self, waiting: int, most: int) -> bool:
        """Whether to double the prefetch, up to ``most``, as so many deliveries of it wait."""
        if self._doubling or self.exclusive:
            return False
        return self.prefetch < min(waiting + SPARE, most)

    async def raise_prefetch(self, channel: Any, on_message: OnMessage, count: int) -> None:
        """Add a consumer with a prefetch of ``count``."""
        await Step(
            "limit the prefetch",
            lambda done: channel.basic_qos(prefetch_count=count, callback=done),
        )
        answer = await Step(
            f"consume from queue {self.queue}",
            partial(_consume, channel, self.queue, self.exclusive, on_message),
        )
        self._tags.append(answer.method.consumer_tag)
        self.prefetch += count

    async def double_prefetch(self, channel: Any, on_message: OnMessage) -> None:
        """Add a consumer with as much prefetch as there is."""
        self._doubling = True
        await self.raise_prefetch(channel, on_message, self.prefetch)
        self._doubling = False

    def lower_prefetch(self, channel: Any, count: int) -> None:
        """Cancel all consumers but the first, whose prefetch is ``count``."""
        self._cancel(channel, self._tags[1:])
        self.prefetch = count

    def cancel(self, channel: Any) -> None:
        """Cancel all consumers."""
        self._cancel(channel, self._tags)

    def lost(self) -> None:
        """Forget the consumers after the loss of the channel."""
        self._tags.clear()
        self.prefetch = 0
        self._doubling = False

    async def take_over(
        self,
        channel: Any,
        on_message: OnMessage,
        open_channel: Callable[[], Awaitable[Any]],
        call_later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        """Consume the former queue for some seconds; delete it if it is empty and unused then."""
        former = self.former
        another = await open_channel()
        try:
            await Step(
                f"look for queue {former}",
                lambda done: another.queue_declare(former, passive=True, callback=done),
                OPTIONAL_TIMEOUT,
            )
            self.former = ""
            on_former = partial(_consume, channel, former, False, on_message)
            answer = await Step(f"consume from queue {former}", on_former)
            await Step("wait", lambda done: call_later(self.former_empties, done))
            tag = answer.method.consumer_tag
            await Step(
                f"consume no more from queue {former}",
                lambda done: channel.basic_cancel(tag, callback=done),
            )
            await Step(
                f"delete queue {former}",
                lambda done: another.queue_delete(former, True, True, callback=done),
            )
        except (ChannelClosedByBroker, TimeoutError) as error:
            log.debug("topology.not_taken_over", extra={"queue": former, "reason": str(error)})
        else:
            log.info("topology.taken_over", extra={"queue": former})
        finally:
            if another.is_open:
                another.close()

    def _cancel(self, channel: Any, tags: Sequence[str]) -> None:
        for tag in tags:
            channel.basic_cancel(tag, callback=lambda _frame: None)
        self._tags = [tag for tag in self._tags if tag not in tags]


def _consume(
    channel: Any, queue: str, exclusive: bool, on_message: OnMessage, done: Callable[..., object]
) -> None:
    channel.basic_consume(queue, on_message, exclusive=exclusive, callback=done)

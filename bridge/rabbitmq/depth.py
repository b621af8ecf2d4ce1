"""The number of ready messages in a queue, read from RabbitMQ every INTERVAL seconds.

It is read by a passive declaration on an existing connection, on a channel of its own: RabbitMQ
closes that channel if the queue is missing.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from bridge.rabbitmq.amqp import ChannelClosedByBroker
from bridge.rabbitmq.setup import Step

INTERVAL = 5.0
"""Seconds between two reads."""
_NOT_FOUND = 404


class Depth:
    """The ready messages of one queue: None until the first answer, 0 if the queue is missing.

    The last number is kept while RabbitMQ is away; ``at`` is its time. Any thread may read.
    """

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.ready: int | None = None
        self.at: float | None = None
        """Seconds since the epoch."""

    def __repr__(self) -> str:
        return f"<Depth of {self.queue}: {self.ready}>"

    async def watch(
        self,
        open_channel: Callable[[], Awaitable[Any]],
        call_later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        """Read the number every INTERVAL seconds, for as long as the connection lives."""
        channel = None
        while True:
            if channel is None or not channel.is_open:
                channel = await open_channel()
            try:
                answer = await look_at(channel, self.queue)
            except ChannelClosedByBroker as error:
                if error.reply_code == _NOT_FOUND:
                    self._found(0)
            else:
                self._found(answer.method.message_count)
            await Step("wait", lambda done: call_later(INTERVAL, done))

    def _found(self, ready: int) -> None:
        self.ready = ready
        self.at = time.time()


def look_at(channel: Any, queue: str) -> Step:
    """The request for a queue's counts. Raises ChannelClosedByBroker if the queue is missing."""
    return Step(
        f"look at queue {queue}",
        lambda done: channel.queue_declare(queue, passive=True, callback=done),
    )

"""How many messages stand in a queue, as RabbitMQ says when it is asked now and then.

It is asked on a connection that is there anyway, by a passive declaration on a channel of its own:
RabbitMQ closes the channel where the queue is missing.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from bridge.rabbitmq.amqp import ChannelClosedByBroker
from bridge.rabbitmq.setup import Step

INTERVAL = 5.0
"""Seconds between two looks."""
_NOT_FOUND = 404


class Depth:
    """The messages of one queue that are ready; None until RabbitMQ has told for the first time.

    What was known is kept while RabbitMQ is away: ``at`` says of when it is. Any thread may read.
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
        """Look again and again, for as long as the connection lives."""
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
    """Ask for the queue's messages and consumers; raises where it is not there."""
    return Step(
        f"look at queue {queue}",
        lambda done: channel.queue_declare(queue, passive=True, callback=done),
    )

"""Watches queues: their consumers and ready messages, read again and again.

A queue is read by a passive declaration, on a channel of its own: RabbitMQ closes that channel if
the queue is missing. The depth of the dead-letter queue is read on an existing connection. The
queues that task lists name have a connection for this purpose: such a list is polled only while
its queue has demand. Otherwise SWF keeps the tasks, under its schedule-to-start time-out.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from bridge.rabbitmq.amqp import ChannelClosedByBroker, Tls
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.demand import Demand, DemandState
from bridge.rabbitmq.nodes import ConnectionLimit
from bridge.rabbitmq.setup import Step

log = logging.getLogger(__name__)

DEPTH_INTERVAL = 5.0
"""Seconds between two reads of a depth."""
INTERVAL = 1.0
"""Seconds between two reads of a queue that a task list names."""
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
        """Read the number every DEPTH_INTERVAL seconds, for as long as the connection lives."""
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
            await Step("wait", lambda done: call_later(DEPTH_INTERVAL, done))

    def _found(self, ready: int) -> None:
        self.ready = ready
        self.at = time.time()


def look_at(channel: Any, queue: str) -> Step:
    """The request for a queue's counts. Raises ChannelClosedByBroker if the queue is missing."""
    return Step(
        f"look at queue {queue}",
        lambda done: channel.queue_declare(queue, passive=True, callback=done),
    )


class QueueWatch(Connection):
    """A part that reads the counts of each queue every ``interval`` s, and updates its Demand."""

    def __init__(
        self,
        urls: Iterable[str],
        tls: Tls,
        demands: Iterable[Demand],
        *,
        declare: bool,
        interval: float = INTERVAL,
        limit: ConnectionLimit | None = None,
    ) -> None:
        super().__init__("demand", urls, tls, (), declare=declare, limit=limit)
        self.demands = tuple(demands)
        self._interval = interval
        self._looking = False

    async def _setup(self) -> None:
        """Do nothing: each queue is read on a channel of its own."""

    def _work(self) -> None:
        if not self._looking:
            self._looking = True
            for demand in self.demands:
                silent = f"queue {demand.queue}: RabbitMQ does not answer"
                late = partial(demand.set, DemandState.SILENT, silent)
                self._run(self._look(demand), late=late)

    def _tick(self) -> None:
        """Do nothing: ``_look`` schedules its own reads."""

    def _lost(self, error: BaseException | None) -> None:
        self._looking = False
        for demand in self.demands:
            demand.set(DemandState.AWAY, "RabbitMQ is away")

    async def _look(self, demand: Demand) -> None:
        """Read the queue's counts again and again, for as long as the connection lives.

        It uses its own channel, so that a queue without an answer does not stop the other lists.
        """
        channel = None
        while True:
            if channel is None or not channel.is_open:
                channel = await self._open_channel()
            try:
                answer = await look_at(channel, demand.queue)
            except ChannelClosedByBroker as error:
                demand.set(DemandState.REFUSED, f"queue {demand.queue}: {error.reply_text}")
            else:
                counts = answer.method
                demand.count(counts.consumer_count, counts.message_count)
            await Step("wait", lambda done: self._call_later(self._interval, done))

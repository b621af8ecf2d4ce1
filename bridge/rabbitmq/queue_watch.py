"""Watches the queues that task lists name: such a list is polled only while its queue has demand.

Otherwise SWF keeps the tasks, under its schedule-to-start time-out. The consumers and ready
messages of each queue are read once a second, on a connection for this purpose.
"""

import logging
from collections.abc import Iterable
from functools import partial

from bridge.rabbitmq.amqp import ChannelClosedByBroker, Tls
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.demand import Demand, DemandState
from bridge.rabbitmq.depth import look_at
from bridge.rabbitmq.setup import Step

log = logging.getLogger(__name__)

INTERVAL = 1.0


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
    ) -> None:
        super().__init__("demand", urls, tls, (), declare=declare)
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

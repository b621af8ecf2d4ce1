"""The consumers of what comes back: replies, rejected tasks, notices from other instances."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Self

from bridge.message.message import Message
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.consumer import Consumer
from bridge.rabbitmq.delivery import Delivery
from bridge.rabbitmq.depth import Depth
from bridge.rabbitmq.notices import NoticeConsumer
from bridge.rabbitmq.publisher import Done
from bridge.rabbitmq.topology import Topology
from bridge.settings.settings import Settings


class Consumers(NamedTuple):
    """Those of one daemon, each with a connection of its own."""

    replies: Consumer
    undeliverable: Consumer
    notices: NoticeConsumer

    @classmethod
    def of(
        cls,
        settings: Settings,
        tls: Tls,
        topology: Topology,
        *,
        take_new_id: Callable[[], str],
        deliver: Callable[[Delivery], object],
        publish: Callable[[Message, Done], object],
        parked: Callable[[str], object],
        depth: Depth,
    ) -> Self:
        """Build them; the arguments are those of Consumer and NoticeConsumer."""
        budget = settings.reply_memory * 1024 * 1024
        consumer = partial(
            Consumer,
            settings.amqp_order,
            tls,
            declare=settings.declare,
            dead_letter_queue=settings.dead_letter_queue,
            deliver=deliver,
            publish=publish,
            parked=parked,
        )
        return cls(
            consumer(
                topology.for_replies(), queue=topology.reply_queue, budget=budget, depth=depth
            ),
            consumer(
                topology.for_undeliverable(),
                queue=topology.undeliverable,
                name="undeliverable",
                budget=budget // 8,
            ),
            NoticeConsumer(
                settings.amqp_order,
                tls,
                topology=topology,
                take_new_id=take_new_id,
                budget=budget // 8,
                declare=settings.declare,
                dead_letter_queue=settings.dead_letter_queue,
                deliver=deliver,
                publish=publish,
                parked=parked,
            ),
        )

    @property
    def beside(self) -> tuple[Consumer, Consumer]:
        """Those without which replies are answered all the same."""
        return self.undeliverable, self.notices

"""Builds the three consumers: of replies, of undeliverable tasks, of other instances' notices."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Self

from bridge.message.message import Message
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.consuming.consumer import Consumer
from bridge.rabbitmq.consuming.delivery import Delivery
from bridge.rabbitmq.consuming.notices import NoticeConsumer
from bridge.rabbitmq.nodes import ConnectionLimit
from bridge.rabbitmq.publisher import Done
from bridge.rabbitmq.queue_watch import Depth
from bridge.rabbitmq.topology import Topology
from bridge.settings.settings import Settings


class Consumers(NamedTuple):
    """The consumers of one daemon, each with its own connection."""

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
        limit: ConnectionLimit,
    ) -> Self:
        """Build the consumers. See Consumer and NoticeConsumer for the arguments."""
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
                topology.for_replies(),
                queue=topology.reply_queue,
                budget=budget,
                depth=depth,
                limit=limit,
            ),
            consumer(
                topology.for_undeliverable(),
                queue=topology.undeliverable,
                name="undeliverable",
                budget=budget // 8,
                after=limit,
            ),
            NoticeConsumer(
                *consumer.args,
                topology=topology,
                take_new_id=take_new_id,
                budget=budget // 8,
                after=limit,
                **consumer.keywords,
            ),
        )

    @property
    def beside(self) -> tuple[Consumer, Consumer]:
        """The consumers whose failure does not stop the processing of replies."""
        return self.undeliverable, self.notices

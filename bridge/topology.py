"""What the bridge declares in RabbitMQ (contract §4). Pure data; queues of workers are not ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DELIVERY_LIMIT = 1_000_000
"""RabbitMQ 4 drops after 20 deliveries unless told otherwise; -1 drops at the first on 3.10."""

NOTICES_EXPIRE = 24 * 60 * 60 * 1000
"""Milliseconds after which the notice queue of an instance that is gone is deleted."""

QUORUM: Mapping[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """All that comes to an exchange goes to a queue."""

    queue: str
    exchange: str


Item = Exchange | Queue | Binding


@dataclass(frozen=True, slots=True)
class Topology:
    """The names that an instance uses, and what it declares under them."""

    exchange: str
    cancel_exchange: str
    reply_queue: str
    dead_letter_queue: str
    undeliverable: str
    instance: str
    """The journal's id: each instance has a notice queue of its own."""

    @property
    def notice_exchange(self) -> str:
        """Fans notices out to the instances that share the reply queue, and to no others."""
        return f"{self.reply_queue}.notices"

    @property
    def notice_queue(self) -> str:
        """Where this instance hears of its tasks from the others, also while it was away."""
        return f"swf.bridge.{self.instance}"

    def for_publisher(self) -> tuple[Item, ...]:
        """What must stand before a task goes out: a task names the reply queue."""
        return (
            Exchange(self.exchange, "topic"),
            Exchange(self.cancel_exchange, "topic"),
            Exchange(self.notice_exchange, "fanout"),
            Queue(self.reply_queue, QUORUM),
            Queue(self.dead_letter_queue, QUORUM),
        )

    def for_consumer(self) -> tuple[Item, ...]:
        """What must stand before replies are consumed."""
        return (
            Queue(self.reply_queue, QUORUM),
            Queue(self.dead_letter_queue, QUORUM),
            Exchange(self.undeliverable, "fanout"),
            Queue(self.undeliverable, QUORUM),
            Binding(self.undeliverable, self.undeliverable),
            Exchange(self.notice_exchange, "fanout"),
            Queue(self.notice_queue, {"x-expires": NOTICES_EXPIRE}),
            Binding(self.notice_queue, self.notice_exchange),
        )

    def queues(self) -> frozenset[str]:
        """The queues that are the bridge's own: nothing that a worker names may go there."""
        return frozenset(item.name for item in self.for_consumer() if isinstance(item, Queue))

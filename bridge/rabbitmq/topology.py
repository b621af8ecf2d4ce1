"""The exchanges, queues and bindings that the bridge declares (contract §4). Pure data."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from bridge.settings.names import NOTICE_QUEUES, NOTICES

if TYPE_CHECKING:
    from bridge.settings.settings import Settings

DELIVERY_LIMIT = 1_000_000
"""RabbitMQ drops a message after this many deliveries. 4.x defaults to 20; 3.10 takes -1 for 0."""

NOTICES_EXPIRE = 24 * 60 * 60 * 1000
"""Milliseconds after which RabbitMQ deletes an unused notice queue: a day."""

QUORUM: Mapping[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: str

    def __str__(self) -> str:
        return f"exchange {self.name}"


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"queue {self.name}"


@dataclass(frozen=True, slots=True)
class Binding:
    """Routes every message of a fanout exchange to a queue."""

    queue: str
    exchange: str

    def __str__(self) -> str:
        return f"binding of queue {self.queue} to exchange {self.exchange}"


Item = Exchange | Queue | Binding


@dataclass(slots=True)
class Topology:
    """The names that an instance uses, and the items that it declares."""

    exchange: str
    cancel_exchange: str
    reply_queue: str
    dead_letter_queue: str
    undeliverable: str
    instance: str
    """The journal's id, a part of the notice queue's name. It changes if another instance has the
    same id (see ``notices``)."""

    @classmethod
    def of(cls, settings: "Settings", instance: str = "none") -> Self:
        """Build the topology of one instance from the settings."""
        return cls(
            exchange=settings.exchange,
            cancel_exchange=settings.cancel_exchange,
            reply_queue=settings.reply_queue,
            dead_letter_queue=settings.dead_letter_queue,
            undeliverable=settings.undeliverable,
            instance=instance,
        )

    @property
    def notice_exchange(self) -> str:
        """The exchange for notices between the instances that share the reply queue."""
        return f"{self.reply_queue}{NOTICES}"

    @property
    def notice_queue(self) -> str:
        """The durable queue of the notices that other instances send to this one."""
        return f"{NOTICE_QUEUES}quorum.{self.instance}"

    @property
    def notice_lock(self) -> str:
        """The exclusive queue that keeps other instances from using the same id."""
        return f"{NOTICE_QUEUES}lock.{self.instance}"

    @property
    def old_notice_queue(self) -> str:
        """The notice queue of version 0.1: a classic queue, unavailable while its node is down."""
        return f"{NOTICE_QUEUES}{self.instance}"

    def for_tasks(self) -> tuple[Item, ...]:
        """The items needed before a task is published."""
        return Exchange(self.exchange, "topic"), Queue(self.reply_queue, QUORUM)

    def for_replies(self) -> tuple[Item, ...]:
        """The items needed before replies are consumed."""
        return (Queue(self.reply_queue, QUORUM),)

    def for_undeliverable(self) -> tuple[Item, ...]:
        """The items that catch rejected and expired tasks."""
        return (
            Exchange(self.undeliverable, "fanout"),
            Queue(self.undeliverable, QUORUM),
            Binding(self.undeliverable, self.undeliverable),
        )

    def for_notices(self) -> tuple[Item, ...]:
        """The items for notices to this instance. The queue is replicated like the reply queue."""
        return (
            Exchange(self.notice_exchange, "fanout"),
            Queue(self.notice_queue, {**QUORUM, "x-expires": NOTICES_EXPIRE}),
            Binding(self.notice_queue, self.notice_exchange),
        )

    def for_answers(self) -> tuple[Item, ...]:
        """The exchanges for cancel requests to workers and notices to other instances."""
        return Exchange(self.cancel_exchange, "topic"), Exchange(self.notice_exchange, "fanout")

    def shared(self) -> tuple[Item, ...]:
        """The items that all instances share: everything but the notice queues."""
        notices = Exchange(self.notice_exchange, "fanout")
        cancellations = Exchange(self.cancel_exchange, "topic")
        dead_letters = Queue(self.dead_letter_queue, QUORUM)
        beside = cancellations, notices, *self.for_undeliverable()
        return (*self.for_tasks(), dead_letters, *beside)

    def is_ours(self, queue: str) -> bool:
        """Whether a bridge declares the queue: answers to workers must not be sent there."""
        ours = (self.reply_queue, self.dead_letter_queue, self.undeliverable)
        return queue in ours or queue.startswith(NOTICE_QUEUES)


# --- for operators who declare it themselves ----------------------------------------------------


def definitions(
    topology: Topology, *, vhost: str, user: str, workers: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """The shared items and the users' permissions, in the format of RabbitMQ's definitions file.

    ``user`` gets only the permissions that the bridge needs, and may declare only notice queues,
    whose names are unknown beforehand. ``workers`` maps users to the binding keys of their tasks.
    """
    shared = topology.shared()
    bindings = workers or {}
    return {
        "vhosts": [{"name": vhost}],
        "permissions": [
            {"user": user, "vhost": vhost, **permissions(topology)},
            *(
                {"user": each, "vhost": vhost, **worker_permissions(topology, each)}
                for each in bindings
            ),
        ],
        "topic_permissions": [
            {"user": each, "vhost": vhost, "exchange": exchange, **topic_permissions(keys)}
            for each, keys in bindings.items()
            for exchange in (topology.exchange, topology.cancel_exchange)
        ],
        "exchanges": [
            {"name": each.name, "vhost": vhost, "type": each.kind, **_DURABLE}
            for each in shared
            if isinstance(each, Exchange)
        ],
        "queues": [
            {"name": each.name, "vhost": vhost, "arguments": dict(each.arguments), **_DURABLE}
            for each in shared
            if isinstance(each, Queue)
        ],
        "bindings": [
            {
                "source": each.exchange,
                "vhost": vhost,
                "destination": each.queue,
                "destination_type": "queue",
                "routing_key": "",
                "arguments": {},
            }
            for each in shared
            if isinstance(each, Binding)
        ],
    }


def permissions(topology: Topology) -> dict[str, str]:
    """The permissions, as regular expressions, that the bridge's user needs and no more."""
    notices = re.escape(NOTICE_QUEUES) + ".*"
    exchanges = [topology.exchange, topology.cancel_exchange, topology.notice_exchange]
    # Dead letters, copies for the tail and heartbeat answers go through the default exchange.
    written = [*map(re.escape, [*exchanges, "amq.default"]), notices]
    queues = [
        topology.reply_queue,
        topology.dead_letter_queue,
        topology.undeliverable,
        topology.notice_exchange,
    ]
    read = [*map(re.escape, queues), notices]
    return {
        "configure": f"^({notices})$",
        "write": f"^({'|'.join(written)})$",
        "read": f"^({'|'.join(read)})$",
    }


def worker_permissions(topology: Topology, user: str) -> dict[str, str]:
    """The permissions of a worker whose queue has the name of its user."""
    queue = re.escape(user)
    read = "|".join(map(re.escape, (topology.exchange, topology.cancel_exchange)))
    return {
        "configure": f"^{queue}$",
        "write": rf"^({queue}|amq\.default)$",
        "read": f"^({queue}|{read})$",
    }


def topic_permissions(keys: Sequence[str]) -> dict[str, str]:
    """Topic permissions for these binding keys only. Without them a worker could bind ``#``."""
    return {"write": "^$", "read": f"^({'|'.join(map(re.escape, keys))})$"}


_DURABLE = {"durable": True, "auto_delete": False}

"""What the bridge declares in RabbitMQ (contract §4). Pure data; queues of workers are not ours."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from bridge.settings.names import NOTICE_QUEUES, NOTICES

if TYPE_CHECKING:
    from bridge.settings.settings import Settings

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
    """All that comes to an exchange goes to a queue."""

    queue: str
    exchange: str

    def __str__(self) -> str:
        return f"binding of queue {self.queue} to exchange {self.exchange}"


Item = Exchange | Queue | Binding


@dataclass(slots=True)
class Topology:
    """The names that an instance uses, and what it declares under them."""

    exchange: str
    cancel_exchange: str
    reply_queue: str
    dead_letter_queue: str
    undeliverable: str
    instance: str
    """The journal's id: each instance has a notice queue of its own. It changes where another
    instance turns out to have the same."""

    @classmethod
    def of(cls, settings: "Settings", instance: str = "none") -> Self:
        """What the settings name, for one instance."""
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
        """Fans notices out to the instances that share the reply queue, and to no others."""
        return f"{self.reply_queue}{NOTICES}"

    @property
    def notice_queue(self) -> str:
        """Where this instance hears of its tasks from the others, also while it was away."""
        return f"{NOTICE_QUEUES}quorum.{self.instance}"

    @property
    def notice_lock(self) -> str:
        """A queue that is exclusive to this instance's connection: no other has the same id."""
        return f"{NOTICE_QUEUES}lock.{self.instance}"

    @property
    def old_notice_queue(self) -> str:
        """The same up to version 0.1: a classic queue, which is gone while its node is down."""
        return f"{NOTICE_QUEUES}{self.instance}"

    def for_tasks(self) -> tuple[Item, ...]:
        """What must stand before a task goes out."""
        return Exchange(self.exchange, "topic"), Queue(self.reply_queue, QUORUM)

    def for_replies(self) -> tuple[Item, ...]:
        """What must stand before replies are consumed."""
        return (Queue(self.reply_queue, QUORUM),)

    def for_undeliverable(self) -> tuple[Item, ...]:
        """What a task finds that a worker rejects, or that expires."""
        return (
            Exchange(self.undeliverable, "fanout"),
            Queue(self.undeliverable, QUORUM),
            Binding(self.undeliverable, self.undeliverable),
        )

    def for_notices(self) -> tuple[Item, ...]:
        """What the notices of other instances find: replicated, as the reply queue is."""
        return (
            Exchange(self.notice_exchange, "fanout"),
            Queue(self.notice_queue, {**QUORUM, "x-expires": NOTICES_EXPIRE}),
            Binding(self.notice_queue, self.notice_exchange),
        )

    def for_answers(self) -> tuple[Item, ...]:
        """What is published for workers and other instances beside the tasks."""
        return Exchange(self.cancel_exchange, "topic"), Exchange(self.notice_exchange, "fanout")

    def shared(self) -> tuple[Item, ...]:
        """All that every instance uses: everything but this one's notice queue."""
        notices = Exchange(self.notice_exchange, "fanout")
        cancellations = Exchange(self.cancel_exchange, "topic")
        dead_letters = Queue(self.dead_letter_queue, QUORUM)
        beside = cancellations, notices, *self.for_undeliverable()
        return (*self.for_tasks(), dead_letters, *beside)

    def is_ours(self, queue: str) -> bool:
        """Whether a bridge declares the queue: nothing that a worker names may go there."""
        ours = (self.reply_queue, self.dead_letter_queue, self.undeliverable)
        return queue in ours or queue.startswith(NOTICE_QUEUES)


# --- for operators who declare it themselves ----------------------------------------------------


def definitions(
    topology: Topology, *, vhost: str, user: str, workers: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """What the bridge needs, as RabbitMQ's definitions file: import it, or apply it with a policy.

    With the permissions of ``user``, who can do no more than the bridge does: it declares nothing
    but the notice queue of each instance, whose name nobody knows before. ``workers`` are users
    with the binding keys of their tasks.
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
    """The regular expressions of a user that can do no more than the bridge does."""
    notices = re.escape(NOTICE_QUEUES) + ".*"
    exchanges = [topology.exchange, topology.cancel_exchange, topology.notice_exchange]
    # Dead letters, replies put off and heartbeat answers go through the default exchange.
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
    """Those of a worker whose queue is called as its user."""
    queue = re.escape(user)
    read = "|".join(map(re.escape, (topology.exchange, topology.cancel_exchange)))
    return {
        "configure": f"^{queue}$",
        "write": rf"^({queue}|amq\.default)$",
        "read": f"^({queue}|{read})$",
    }


def topic_permissions(keys: Sequence[str]) -> dict[str, str]:
    """Let a worker bind these keys alone; without them it may bind ``#`` and read every task."""
    return {"write": "^$", "read": f"^({'|'.join(map(re.escape, keys))})$"}


_DURABLE = {"durable": True, "auto_delete": False}

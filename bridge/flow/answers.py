"""Answers to heartbeats, published where workers want them, as far as that harms nobody else."""

import logging
import threading
import time
from functools import partial

from bridge.flow.peers import log_unsent
from bridge.message import Message
from bridge.rabbitmq.publisher import Fate, Publisher, Receipt
from bridge.rabbitmq.reply_to import DIRECT, node_of
from bridge.rabbitmq.topology import Topology
from bridge.telemetry.repeated import Repeated

log = logging.getLogger(__name__)

TRY_EVERY = 1.0
"""Seconds between two answers to nodes that no answer has reached yet: each may cost the connection
that all answers share, which is there again after a twentieth of that."""
NODES_KEPT = 64


class Answers:
    """Publishes answers. Safe to use from many threads.

    None goes to a queue that a bridge declares. A direct reply-to may be forged, and RabbitMQ
    closes the connection over it: one that is malformed is not used; one of a node that an answer
    has reached before is as good as any queue; of others one a second is tried, alone.
    """

    def __init__(self, publisher: Publisher, topology: Topology) -> None:
        self._publisher = publisher
        self._topology = topology
        self._lock = threading.Lock()
        self._reached: dict[bytes, None] = {}
        """Nodes that an answer has reached."""
        self._tried_at = -TRY_EVERY
        self._not_answered = Repeated(log, "heartbeat.not_answered")

    def publish(self, message: Message, task: str) -> None:
        """Publish the answer for a task, or tell why it is not."""
        address = message.routing_key
        if self._topology.is_ours(address):
            self._tell(task, address, "a queue of the bridge")
        elif not address.startswith(DIRECT):
            self._publisher.publish(message, log_unsent)
        elif not (node := node_of(address)):
            self._tell(task, address, "no direct reply-to of RabbitMQ")
        elif node in self._reached:
            self._publisher.publish(message, partial(self._sent, node))
        elif self._may_try():
            self._publisher.publish(message, partial(self._sent, node), alone=True)
        else:
            self._tell(task, address, "too many direct reply-tos of unknown nodes")

    def _may_try(self) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._tried_at < TRY_EVERY:
                return False
            self._tried_at = now
            return True

    def _sent(self, node: bytes, receipt: Receipt) -> None:
        """On the publisher's thread."""
        with self._lock:
            if receipt.fate is Fate.REFUSED:
                self._reached.pop(node, None)
            else:
                self._reached[node] = None
                if len(self._reached) > NODES_KEPT:
                    del self._reached[next(iter(self._reached))]
        log_unsent(receipt)

    def _tell(self, task: str, address: str, reason: str) -> None:
        self._not_answered.tell((reason,), task=task, queue=address, reason=reason)

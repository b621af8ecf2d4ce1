"""Answers to heartbeats, published where workers want them, as far as that harms nobody else."""

import logging
import threading
from collections import deque
from functools import partial

from bridge.flow.peers import log_unsent
from bridge.message.message import Message
from bridge.rabbitmq.publisher import Fate, Publisher, Receipt
from bridge.rabbitmq.reply_to import DIRECT, node_of
from bridge.rabbitmq.topology import Topology
from bridge.scheduling.timer import Timer
from bridge.telemetry.repeated import Repeated

log = logging.getLogger(__name__)

TRY_EVERY = 1.0
"""Seconds between two answers to nodes that no answer has reached yet: each may cost the connection
that all answers share, which is there again after a twentieth of that."""
NODES_KEPT = 64
"""Nodes that are known to be reached, and others that wait to be tried."""
KEPT_OF_NODE = 64
"""Answers to a node that wait until it was tried."""


class Answers:
    """Publishes answers. Safe to use from many threads.

    None goes to a queue that a bridge declares. A direct reply-to may be forged, and RabbitMQ
    closes the connection over it: one that is malformed is not used; one of a node that an answer
    has reached before is as good as any queue; of other nodes one a second is tried, by one answer
    that goes alone, and the others wait for what comes of it.
    """

    def __init__(self, publisher: Publisher, topology: Topology, timer: Timer) -> None:
        self._publisher = publisher
        self._topology = topology
        self._timer = timer
        self._lock = threading.Lock()
        self._reached: dict[bytes, None] = {}
        """Nodes that an answer has reached; changed under the lock, one looked up without it."""
        self._waiting: dict[bytes, deque[Message]] = {}
        """By node: what waits until it was tried, the node that waits longest first."""
        self._tried: set[bytes] = set()
        """Those of them whose trial is under way."""
        self._trying = False
        """Whether the next trial has its time."""
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
        elif not self._wait(node, message):
            self._tell(task, address, "too many direct reply-tos of unknown nodes")

    def _wait(self, node: bytes, message: Message) -> bool:
        """Have the answer wait until its node was tried; whether there is room for that."""
        with self._lock:
            if node not in self._waiting and len(self._waiting) >= NODES_KEPT:
                return False
            waiting = self._waiting.setdefault(node, deque())
            if len(waiting) >= KEPT_OF_NODE:
                return False
            waiting.append(message)
            first, self._trying = not self._trying, True
        if first:
            self._try_next()
        return True

    def _try_next(self) -> None:
        with self._lock:
            node = next((each for each in self._waiting if each not in self._tried), None)
            if node is None:
                self._trying = False
                return
            self._tried.add(node)
            message = self._waiting[node].popleft()
        self._publisher.publish(message, partial(self._sent, node), alone=True)
        self._timer.later(TRY_EVERY, self._try_next)

    def _sent(self, node: bytes, receipt: Receipt) -> None:
        """On the publisher's thread."""
        refused = receipt.fate is Fate.REFUSED
        with self._lock:
            self._tried.discard(node)
            waiting = self._waiting.pop(node, ())
            if refused:
                self._reached.pop(node, None)
            else:
                self._reached[node] = None
                if len(self._reached) > NODES_KEPT:
                    del self._reached[next(iter(self._reached))]
        log_unsent(receipt)
        for message in () if refused else waiting:
            self._publisher.publish(message, partial(self._sent, node))

    def _tell(self, task: str, address: str, reason: str) -> None:
        self._not_answered.tell((reason,), task=task, queue=address, reason=reason)

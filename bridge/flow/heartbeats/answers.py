"""Publishes answers to heartbeats, and keeps forged reply addresses from doing harm."""

import logging
import threading
from collections import deque
from functools import partial

from bridge.flow.heartbeats.reply_to import DIRECT, node_of
from bridge.flow.settling.peers import log_unsent
from bridge.message.message import Message
from bridge.rabbitmq.publisher import Fate, Publisher, Receipt
from bridge.rabbitmq.topology import Topology
from bridge.telemetry.repeated import Repeated
from bridge.threads.timer import Timer

log = logging.getLogger(__name__)

TRY_EVERY = 1.0
"""Seconds between two trials of unknown nodes. A trial may close the connection that all answers
share; reconnecting takes about a twentieth of this."""
NODES_KEPT = 64
"""Maximum number of reached nodes remembered, and of unknown nodes that wait for a trial."""
KEPT_OF_NODE = 64
"""Maximum number of answers that wait for the trial of one node."""


class Answers:
    """Publishes answers. Safe to use from many threads.

    Answers are never sent to a queue that a bridge declares. A worker can forge a direct reply-to,
    and RabbitMQ closes the connection over it. So a malformed address is not used. The first
    answer to an unknown node is published alone, one node a TRY_EVERY; other answers to that node
    wait for its outcome. Once an answer has reached a node, its addresses are treated like queues.
    """

    def __init__(self, publisher: Publisher, topology: Topology, timer: Timer) -> None:
        self._publisher = publisher
        self._topology = topology
        self._timer = timer
        self._lock = threading.Lock()
        self._reached: dict[bytes, None] = {}
        """Nodes that an answer has reached. Changed under the lock, read without it."""
        self._waiting: dict[bytes, deque[Message]] = {}
        """Answers that wait for the trial of their node, by node; the oldest node first."""
        self._tried: set[bytes] = set()
        """Nodes whose trial is under way."""
        self._trying = False
        """Whether a call of ``_try_next`` is running or scheduled."""
        self._not_answered = Repeated(log, "heartbeat.not_answered")

    def publish(self, message: Message, task: str) -> None:
        """Publish the answer to a heartbeat of ``task``, or log why it is not published."""
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
        """Queue the answer until its node has been tried; False if there is no room."""
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
        """Note the outcome of an answer to the node. Runs on the publisher's thread."""
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

"""Demand: a task list that names a queue is polled only while workers consume from it.

Otherwise SWF keeps the tasks, under its own schedule-to-start time-out. A connection of its own
asks RabbitMQ once a second for the consumers and the ready messages of each such queue.
"""

import logging
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

from bridge.rabbitmq.amqp import ChannelClosedByBroker, Tls
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.depth import look_at
from bridge.rabbitmq.setup import Step
from bridge.task import TaskListId

log = logging.getLogger(__name__)

INTERVAL = 1.0


class Wanted(NamedTuple):
    """The queue whose demand a task list follows, and how many ready messages are enough."""

    queue: str
    enough: int


class Gate:
    """Whether a task list may be polled, and why not."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.why = f"queue {wanted.queue} is not seen yet"
        self._open = threading.Event()
        self._seen = False

    def __repr__(self) -> str:
        return f"<Gate of {self.wanted.queue}: {self.why or 'open'}>"

    def wait(self, timeout: float) -> bool:
        """Whether the list may be polled, after waiting so many seconds for it."""
        return self._open.wait(timeout)

    def set(self, why: str) -> None:
        """Close the gate for a reason, or open it where there is none."""
        if bool(why) == self._open.is_set() or not self._seen:
            self._seen = True
            event = "demand.none" if why else "demand.seen"
            log.info(event, extra={"queue": self.wanted.queue, "reason": why})
        self.why = why
        if why:
            self._open.clear()
        else:
            self._open.set()


class Demand(Connection):
    """A part: looks at the queues of the task lists that name one."""

    def __init__(
        self, urls: Iterable[str], tls: Tls, wanted: Mapping[TaskListId, Wanted], *, declare: bool
    ) -> None:
        super().__init__("demand", urls, tls, (), declare=declare)
        self.gates = {label: Gate(each) for label, each in wanted.items()}
        self._looking = False

    async def _setup(self) -> None:
        """Nothing: each queue is looked at on a channel of its own."""

    def _work(self) -> None:
        if not self._looking:
            self._looking = True
            for gate in self.gates.values():
                silent = f"queue {gate.wanted.queue}: RabbitMQ does not answer"
                self._run(self._look(gate), late=partial(gate.set, silent))

    def _tick(self) -> None:
        """Nothing: the steps have a clock of their own."""

    def _lost(self, error: BaseException | None) -> None:
        self._looking = False
        for gate in self.gates.values():
            gate.set("RabbitMQ is away")

    async def _look(self, gate: Gate) -> None:
        """Look at the queue once a second, for as long as the connection lives.

        On a channel of its own: a queue that does not answer is not to stop the other lists.
        """
        channel = None
        while True:
            if channel is None or not channel.is_open:
                channel = await self._open_channel()
            try:
                answer = await look_at(channel, gate.wanted.queue)
            except ChannelClosedByBroker as error:
                gate.set(f"queue {gate.wanted.queue}: {error.reply_text}")
            else:
                counts = answer.method
                gate.set(_why_not(gate.wanted, counts.consumer_count, counts.message_count))
            await Step("wait", lambda done: self._call_later(INTERVAL, done))


def _why_not(wanted: Wanted, consumers: int, ready: int) -> str:
    if not consumers:
        return f"queue {wanted.queue} has no consumer"
    if ready >= wanted.enough:
        return f"queue {wanted.queue} holds {ready} messages already"
    return ""

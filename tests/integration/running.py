"""Parts on their threads, and what comes of what they are given."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from bridge.message.message import Message
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.consuming.consumer import BUDGET, Consumer
from bridge.rabbitmq.consuming.delivery import Delivery
from bridge.rabbitmq.publisher import Done, Fate, Publisher, Receipt
from bridge.rabbitmq.topology import Topology

RECONNECTS = 0.5
"""Seconds to the next try of a connection at most: no test waits for ten."""
Deliver = Callable[[Delivery], object]


def await_that(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


class Running:
    """Runs parts until the end of the block, where each must return in a few seconds."""

    def __init__(self) -> None:
        self._parts: list[tuple[Connection, threading.Thread]] = []

    def start(self, part: Connection, *, await_ready: bool = True) -> None:
        thread = threading.Thread(target=part.run, name=part.name, daemon=True)
        self._parts.append((part, thread))
        thread.start()
        if await_ready:
            await_that(part.ready.is_set)

    def stop(self) -> None:
        for part, _ in self._parts:
            part.stop()
        for part, thread in self._parts:
            thread.join(10)
            assert not thread.is_alive(), f"{part} does not end"
        self._parts.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Receipts:
    """The receipts of numbered messages, each of which may come once only."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.by_number: dict[int, Receipt] = {}

    def done(self, number: int) -> Done:
        def note(receipt: Receipt) -> None:
            with self._changed:
                assert number not in self.by_number, "told twice"
                self.by_number[number] = receipt
                self._changed.notify_all()

        return note

    def wait(self, count: int, seconds: float = 30) -> None:
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.by_number) >= count, seconds)
        assert arrived, f"{len(self.by_number)} of {count} receipts"

    def fates(self) -> Mapping[Fate, int]:
        return Counter(receipt.fate for receipt in self.by_number.values())


def publisher(url: str, topology: Topology, *, declare: bool = True) -> Publisher:
    part = Publisher(
        [url],
        Tls(),
        topology.for_tasks(),
        declare=declare,
        optional=(*topology.for_undeliverable(), *topology.for_notices(), *topology.for_answers()),
    )
    part.backoff.cap = RECONNECTS
    return part


def consumer(
    url: str,
    topology: Topology,
    deliver: Deliver,
    publish: Callable[[Message, Done], object],
    *,
    declare: bool = True,
    budget: int = BUDGET,
) -> Consumer:
    part = Consumer(
        [url],
        Tls(),
        topology.for_replies(),
        declare=declare,
        queue=topology.reply_queue,
        dead_letter_queue=topology.dead_letter_queue,
        deliver=deliver,
        publish=publish,
        budget=budget,
    )
    part.backoff.cap = RECONNECTS
    return part


def numbered(number: int, key: str = "work", exchange: str = "swf.activities") -> Message:
    """A message whose body is its number."""
    return Message(exchange, key, str(number).encode(), {"delivery_mode": 2})

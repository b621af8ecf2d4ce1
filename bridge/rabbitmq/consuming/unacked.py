"""The unacknowledged deliveries of a consumer: their tags and the bytes of their bodies.

A delivery that cannot be processed now is set aside: its body is dropped and only the tag is kept.
Later the delivery is requeued (``basic.nack``), and RabbitMQ delivers it again, before messages
that came later.
"""

import itertools
import math
import time
from collections import OrderedDict
from typing import Any

SMALL = 4096
"""Maximum bytes of a small body. An eighth of the budget is reserved for small bodies."""
REFRESH = 1200.0
"""Seconds after which a delivery that is set aside is requeued in any case. RabbitMQ closes a
channel that does not acknowledge a delivery for 30 minutes."""


class Unacked:
    """The unacknowledged deliveries of the current channel. Owned by the connection's thread.

    The bodies in hand have at most ``budget`` bytes in total; a single body may be larger.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._open: OrderedDict[int, int] = OrderedDict()
        """Tags not yet acknowledged, in order, with the bytes in hand of each delivery."""
        self._ready: set[int] = set()
        """The tags to be acknowledged by the next ``acknowledge``."""
        self._waiting: set[int] = set()
        """The tags of deliveries in hand that wait for others (see ``wait``)."""
        self._bytes = 0
        self._returning = (0, 0)
        """Number and bytes of requeued deliveries that are expected to come again."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def crowded(self) -> bool:
        """Whether half the budget is used."""
        return self._bytes > self._budget // 2

    def add(self, tag: int, size: int, *, again: bool) -> bool:
        """Add a delivery (``again``: redelivered); return whether its body fits the budget."""
        count, returning = self._returning
        if again and count:
            self._returning = (count - 1, max(0, returning - size))
        fits = size <= self.room(size)
        self._open[tag] = size if fits else 0
        self._bytes += self._open[tag]
        return fits

    def room(self, size: int = SMALL + 1) -> float:
        """The bytes that are free for a body of this size."""
        if not self._bytes and not self._returning[1]:
            return math.inf
        budget = self._budget if size <= SMALL else self._budget - self._budget // 8
        return budget - self._bytes - self._returning[1]

    @property
    def waiting(self) -> int:
        """Number of deliveries in hand that wait for others."""
        return len(self._waiting)

    def wait(self, tag: int) -> None:
        """Count the delivery as waiting until it is settled, unless it is already."""
        if tag not in self._ready:
            self._waiting.add(tag)

    def go_on(self, tag: int) -> bool:
        """Count the delivery as waiting no more; return whether it is still unacknowledged."""
        self._waiting.discard(tag)
        return tag in self._open

    def let_go(self, tag: int) -> None:
        """Count the delivery's body as dropped."""
        self._bytes -= self._open[tag]
        self._open[tag] = 0

    def done(self, tag: int) -> None:
        """Have the next ``acknowledge`` include the delivery."""
        self.let_go(tag)
        self._ready.add(tag)

    def acknowledge(self, channel: Any) -> None:
        """Acknowledge the ready tags: with one frame up to the first gap, one by one behind it."""
        oldest = list(itertools.takewhile(self._ready.__contains__, self._open))
        if oldest:
            channel.basic_ack(oldest[-1], multiple=True)
        for tag in self._ready.difference(oldest):
            channel.basic_ack(tag)
        for tag in self._ready:
            del self._open[tag]
        self._ready.clear()

    def give_back(self, channel: Any, aside: "Aside", most: int) -> None:
        """Requeue the oldest while their bodies fit and fewer than ``most`` are still to come."""
        while aside and self._returning[0] < most and aside.oldest <= self.room(aside.oldest):
            size, tag = aside.oldest, aside.take()
            self._returning = (self._returning[0] + 1, self._returning[1] + size)
            self.requeue(channel, tag)

    def requeue(self, channel: Any, tag: int) -> None:
        """Requeue a delivery: RabbitMQ delivers it again."""
        self.let_go(tag)
        del self._open[tag]
        channel.basic_nack(tag, requeue=True)

    def expect_no_more(self) -> None:
        """Expect no more redeliveries: another consumer has got the missing ones."""
        self._returning = (0, 0)

    def clear(self) -> None:
        """Forget all deliveries after the loss of the channel."""
        self._open.clear()
        self._ready.clear()
        self._waiting.clear()
        self._bytes = 0
        self._returning = (0, 0)


class Aside(OrderedDict[int, tuple[int, float]]):
    """Deliveries that are set aside, the oldest first: by tag, the bytes of the body and when."""

    def __init__(self) -> None:
        super().__init__()
        self.refresh = REFRESH

    @property
    def oldest(self) -> int:
        """The bytes of the oldest delivery's body."""
        return next(iter(self.values()))[0]

    @property
    def is_old(self) -> bool:
        """Whether the oldest delivery was set aside more than ``refresh`` seconds ago."""
        until = time.monotonic() - self.refresh
        return bool(self) and next(iter(self.values()))[1] < until

    def put(self, tag: int, size: int) -> None:
        """Set a delivery aside."""
        self[tag] = (size, time.monotonic())

    def take(self) -> int:
        """Remove the oldest delivery; return its tag."""
        return self.popitem(last=False)[0]

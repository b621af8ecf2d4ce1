"""What a consumer has in hand: tags without an acknowledgement, and the bytes of their bodies.

What cannot be worked on now is set aside: its body is let go, and it costs no more than its tag.
Once it can, it is given back to its queue (``basic.nack``), which delivers it again, before those
that came later.
"""

import itertools
import math
import time
from collections import OrderedDict
from typing import Any

SMALL = 4096
"""Bytes of a body for which an eighth of the budget is kept free from larger ones."""
REFRESH = 1200.0
"""Seconds after which one that is set aside is given back in any case: RabbitMQ closes a channel
that leaves a delivery without an answer for 30 minutes."""


class Unacked:
    """The deliveries of one life of a channel. For the connection's own thread.

    Their bodies have at most ``budget`` bytes together; one alone may have more.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._open: OrderedDict[int, int] = OrderedDict()
        """Tags without an acknowledgement on the wire, in order, with the bytes in hand of each."""
        self._ready: set[int] = set()
        """Those of them that are to get it."""
        self._bytes = 0
        self._returning = (0, 0)
        """How many were given back and are to come again, and their bytes."""

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, tag: int) -> bool:
        return tag in self._open

    @property
    def crowded(self) -> bool:
        """Whether half the budget is used."""
        return self._bytes > self._budget // 2

    def add(self, tag: int, size: int, *, again: bool) -> bool:
        """Note a delivery, and whether there is room for its body; ``again``: it came before."""
        count, returning = self._returning
        if again and count:
            self._returning = (count - 1, max(0, returning - size))
        fits = size <= self.room(size)
        self._open[tag] = size if fits else 0
        self._bytes += self._open[tag]
        return fits

    def room(self, size: int = SMALL + 1) -> float:
        """The bytes that may still come with bodies of this size."""
        if not self._bytes and not self._returning[1]:
            return math.inf
        budget = self._budget if size <= SMALL else self._budget - self._budget // 8
        return budget - self._bytes - self._returning[1]

    def let_go(self, tag: int) -> None:
        """The body of the delivery is not needed any more."""
        self._bytes -= self._open[tag]
        self._open[tag] = 0

    def done(self, tag: int) -> None:
        """The delivery is to be acknowledged."""
        self.let_go(tag)
        self._ready.add(tag)

    def acknowledge(self, channel: Any) -> None:
        """Acknowledge what is ready: from the oldest on with one frame, behind a gap one by one."""
        oldest = list(itertools.takewhile(self._ready.__contains__, self._open))
        if oldest:
            channel.basic_ack(oldest[-1], multiple=True)
        for tag in self._ready.difference(oldest):
            channel.basic_ack(tag)
        for tag in self._ready:
            del self._open[tag]
        self._ready.clear()

    def give_back(self, channel: Any, aside: "Aside", most: int) -> None:
        """Have so many of the oldest delivered again, as far as there is room for their bodies."""
        while aside and self._returning[0] < most and aside.oldest <= self.room(aside.oldest):
            size, tag = aside.oldest, aside.take()
            self._returning = (self._returning[0] + 1, self._returning[1] + size)
            self.requeue(channel, tag)

    def requeue(self, channel: Any, tag: int) -> None:
        """Have the delivery delivered again."""
        self.let_go(tag)
        del self._open[tag]
        channel.basic_nack(tag, requeue=True)

    def expect_no_more(self) -> None:
        """What was given back and has not come again has gone to another consumer."""
        self._returning = (0, 0)

    def clear(self) -> None:
        """The channel is gone."""
        self._open.clear()
        self._ready.clear()
        self._bytes = 0
        self._returning = (0, 0)


class Aside:
    """Deliveries that are set aside, the oldest first, each with the bytes of its body."""

    def __init__(self) -> None:
        self._tags: OrderedDict[int, tuple[int, float]] = OrderedDict()
        self.clear = self._tags.clear

    def __len__(self) -> int:
        return len(self._tags)

    @property
    def oldest(self) -> int:
        """The bytes of the one that came first."""
        return next(iter(self._tags.values()))[0]

    @property
    def is_old(self) -> bool:
        """Whether it has been here for too long."""
        until = time.monotonic() - REFRESH
        return bool(self._tags) and next(iter(self._tags.values()))[1] < until

    def put(self, tag: int, size: int) -> None:
        """Set a delivery aside."""
        self._tags[tag] = (size, time.monotonic())

    def take(self) -> int:
        """The tag that came first, which is not here any more."""
        return self._tags.popitem(last=False)[0]

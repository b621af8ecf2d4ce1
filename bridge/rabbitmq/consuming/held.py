"""Replies that SWF cannot take now. They are held with their bodies until SWF is asked again.

If too many are held, the one held longest is published to the tail of its queue.
"""

import logging
import time
from collections import OrderedDict

from bridge.rabbitmq.consuming.delivery import Delivery
from bridge.rabbitmq.publisher import Fate, Receipt
from bridge.telemetry.outage import Outage

log = logging.getLogger(__name__)

HELD_LIMIT = 128
"""Replies held, half the prefetch. If more are held, one is published to the tail of the queue."""
HELD_FOR = 600.0
"""Seconds after which a reply that SWF cannot take is published to the tail of the queue."""
TAIL_PACE = 100.0
"""Replies a second published to the tail because too many are held: all of them come again."""
TAIL_BYTES = 4 * 1024 * 1024
"""Bytes a second published to the tail because too many replies are held."""
TAILS = 16
"""Copies for the tail that are published and not yet confirmed, where too many are held."""
TAIL_RETRY = 5.0
"""Seconds to hold a reply whose copy for the tail was not confirmed."""


class Held:
    """The held replies of one consumer. Owned by the connection's thread."""

    def __init__(self, queue: str) -> None:
        self.limit = HELD_LIMIT
        self.seconds = HELD_FOR
        self.tail_retry = TAIL_RETRY
        self._held: OrderedDict[int, Delivery] = OrderedDict()
        self._tails = Outage(log, "tail.failing", "tail.back", queue=queue)
        self._next_tail = 0.0
        self.under_way = 0
        """Number of copies for the tail that are published and not yet confirmed."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def in_prefetch(self) -> int:
        """Number of replies that take prefetch: held, or with a copy under way."""
        return len(self._held) + self.under_way

    def put(self, delivery: Delivery) -> None:
        """Hold the reply."""
        self._held[delivery.tag] = delivery

    def take(self, delivery: Delivery) -> bool:
        """Hold the reply no more; False if it has left for the tail, or the channel was lost."""
        if self._held.get(delivery.tag) is not delivery:
            return False
        del self._held[delivery.tag]
        return True

    def is_over(self, delivery: Delivery) -> bool:
        """Whether the reply was held for so long that it must be published to the tail."""
        return time.monotonic() - delivery.since > self.seconds

    def take_surplus(self, *, crowded: bool) -> Delivery | None:
        """Hold the oldest no more and return it, if it is to be published to the tail now.

        ``crowded`` says that there is no room for more, though fewer than ``limit`` are held.
        """
        now = time.monotonic()
        if now < self._next_tail or self.under_way >= TAILS:
            return None
        if not crowded and len(self._held) <= self.limit:
            return None
        _, longest = self._held.popitem(last=False)
        self._next_tail = now + max(1 / TAIL_PACE, len(longest.body) / TAIL_BYTES)
        return longest

    def sent(self, receipt: Receipt) -> bool:
        """Note the receipt of a copy for the tail. Return whether RabbitMQ has the copy."""
        if receipt.fate is Fate.CONFIRMED:
            self._tails.end()
            return True
        self._tails.begin(receipt.detail)
        self._next_tail = time.monotonic() + self.tail_retry
        return False

    def lost(self) -> None:
        """Forget all replies after the loss of the channel: RabbitMQ delivers them again."""
        self._held.clear()
        self.under_way = 0

"""Bad replies that are being published to the dead-letter queue, wait for that, or are refused.

Good replies must not wait for bad ones. So bad ones wait in memory, while the consumer looks at the
replies behind them, and are published slowly: PACE letters and PACE_BYTES a second. (Every quorum
queue of a node writes to one log, and what workers publish waits until that is on the disk.) Once
three quarters of the memory for them are taken, only PACE_BYTES and PARKING limit the pace. Those
for which there is no memory are set aside.

While the queue refuses letters, one reply, the probe, is tried again every UNPARKED_RETRY seconds.
The other replies are set aside.
"""

import logging
import time
from collections import deque
from collections.abc import Callable

from bridge.message.message import ERROR_AT_HEADER, Message, sender, worker
from bridge.rabbitmq.consuming.copies import dead_letter, size
from bridge.rabbitmq.consuming.delivery import Delivery, Park
from bridge.rabbitmq.consuming.unacked import REFRESH, Aside
from bridge.telemetry.outage import Outage
from bridge.telemetry.repeated import Repeated

log = logging.getLogger(__name__)

PARKING = 224
"""Maximum number of dead letters that are published and not yet confirmed."""
PACE = 1000.0
"""Dead letters a second, while there is memory for others to wait."""
PACE_BYTES = 8 * 1024 * 1024
"""Bytes of dead letters a second."""
BURST = 0.05
"""Seconds for which letters may be published ahead of the pace."""
OVERHEAD = 512
"""Bytes that a waiting reply takes beside its body and headers, about."""
UNPARKED_RETRY = 5.0


class Parking:
    """The bad replies of one consumer. Only ``tell`` runs on another thread than the connection's.

    ``parked`` is called with the error code of each dead letter that RabbitMQ has confirmed. Those
    that wait take at most ``memory`` bytes; a single one may be larger.
    """

    def __init__(
        self,
        queue: str,
        parked: Callable[[str], object],
        memory: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outage = Outage(log, "dead_letters.failing", "dead_letters.back", queue=queue)
        """The outage of the dead-letter queue."""
        self.aside = Aside()
        self.under_way = 0
        """Number of dead letters that are published and not yet confirmed."""
        self._queue = queue
        self._parked = parked
        self._memory = memory
        self._clock = clock
        self.waiting: deque[tuple[Delivery, Park]] = deque()
        """Replies that ``take`` returns, the oldest first."""
        self._waiting_bytes = 0
        self._next_at = 0.0
        """When the pace allows the next letter."""
        self._probe: Delivery | None = None
        self._told = Repeated(log, "reply.dead_lettered")

    def __len__(self) -> int:
        """Number of replies that wait for the dead-letter queue, with the probe."""
        return len(self.aside) + (self._probe is not None)

    @property
    def in_prefetch(self) -> int:
        """Number of replies that take prefetch: set aside, waiting, or under way."""
        return len(self.aside) + len(self.waiting) + self.under_way

    @property
    def room(self) -> int:
        """How many of the replies that are set aside may come again now."""
        if not self.aside or self.outage.error or self.waiting or not self._has_room:
            return 0
        return min(PARKING - self.under_way, max(1, self._memory // max(1, self.aside.oldest)))

    @property
    def delay(self) -> float:
        """Seconds until the pace allows the next letter, if one waits for that; else 0."""
        waits = self.waiting or (self.aside and not self.outage.error)
        return max(0.0, self._next_at - self._clock()) if waits else 0.0

    @property
    def _has_room(self) -> bool:
        return self.under_way < PARKING and self._clock() >= self._next_at - BURST

    def may_go(self, delivery: Delivery) -> bool:
        """Whether the reply may be published now; else it must wait or be set aside."""
        if delivery is self._probe:
            return True
        if self.outage.error:
            return self._probe is None and self.under_way < PARKING
        return self._has_room

    def wait(self, delivery: Delivery, parked: Park) -> bool:
        """Keep the reply until ``take`` returns it; False if it must be set aside instead."""
        cost = _cost(delivery)
        full = bool(self.waiting) and self._waiting_bytes + cost > self._memory
        if full or self.outage.error:
            return False
        self.waiting.append((delivery, parked))
        self._waiting_bytes += cost
        return True

    def take(self, *, all_: bool = False) -> tuple[Delivery, Park] | None:
        """Remove and return the oldest that waits, if it may be published now or ``all_`` go."""
        if not self.waiting or not (all_ or self._has_room):
            return None
        found = self.waiting.popleft()
        self._waiting_bytes -= _cost(found[0])
        return found

    def letter(self, delivery: Delivery, parked: Park) -> Message:
        """Build the dead letter and count it as under way; during an outage it is the probe."""
        if self.outage.error:
            self._probe = delivery
        self.under_way += 1
        crowded = self._waiting_bytes > self._memory * 3 // 4
        seconds = len(delivery.body) / PACE_BYTES + (0.0 if crowded else 1 / PACE)
        self._next_at = max(self._next_at, self._clock()) + seconds
        properties = delivery.properties
        letter = dead_letter(self._queue, delivery.body, properties, parked.code, parked.detail)
        return letter.with_headers({ERROR_AT_HEADER: int(time.time())})

    def tell(self, delivery: Delivery, parked: Park) -> None:
        """Log and report a confirmed dead letter. Runs on the publisher's thread."""
        kind = (parked.code, *worker(delivery.properties).values())
        of = {**sender(delivery.properties), **parked.about}
        self._told.tell(kind, code=parked.code, reason=parked.detail, **of)
        self._parked(parked.code)

    def taken(self, delivery: Delivery) -> None:
        """Note a confirm. That of the probe ends the outage."""
        if delivery is self._probe:
            self._probe = None
            self.outage.end(waiting=len(self.aside))

    def refused(self, delivery: Delivery, why: str) -> bool:
        """Note a refusal, which begins an outage. Return whether the reply is the probe now."""
        self.outage.begin(why)
        if self._probe is None:
            self._probe = delivery
        return self._probe is delivery

    def is_probe(self, delivery: Delivery) -> bool:
        """Whether the reply is the probe."""
        return delivery is self._probe

    def take_old_probe(self) -> Delivery | None:
        """Remove and return a probe over REFRESH seconds old, unless a letter is under way."""
        probe = self._probe
        if probe is None or self.under_way or time.monotonic() - probe.since <= REFRESH:
            return None
        self._probe = None
        return probe

    def lost(self) -> None:
        """Forget all replies after the loss of the channel: RabbitMQ delivers them again."""
        self.aside.clear()
        self.waiting.clear()
        self._waiting_bytes = 0
        self.under_way = 0
        self._probe = None


def _cost(delivery: Delivery) -> int:
    """The bytes that a waiting reply takes, about: decoded headers take twice their size."""
    return OVERHEAD + len(delivery.body) + 2 * size(delivery.properties["headers"])

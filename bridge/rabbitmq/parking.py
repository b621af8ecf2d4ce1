"""Bad replies that are being published to the dead-letter queue, or are refused by it.

While the queue refuses them, one reply, the probe, is tried again every UNPARKED_RETRY seconds. The
other replies are set aside.
"""

import logging
import time
from collections.abc import Callable

from bridge.message.message import ERROR_AT_HEADER, Message
from bridge.rabbitmq.copies import dead_letter
from bridge.rabbitmq.delivery import Delivery, Park
from bridge.rabbitmq.sender import name, sender
from bridge.rabbitmq.unacked import REFRESH, Aside
from bridge.telemetry.outage import Outage
from bridge.telemetry.repeated import Repeated

log = logging.getLogger(__name__)

PARKING = 224
"""Maximum number of dead letters that are published and not yet confirmed."""
UNPARKED_RETRY = 5.0


class Parking:
    """The bad replies of one consumer. Only ``tell`` runs on another thread than the connection's.

    ``parked`` is called with the error code of each dead letter that RabbitMQ has confirmed.
    """

    def __init__(self, queue: str, parked: Callable[[str], object]) -> None:
        self.outage = Outage(log, "dead_letters.failing", "dead_letters.back", queue=queue)
        """The outage of the dead-letter queue."""
        self.aside = Aside()
        self.under_way = 0
        """Number of dead letters that are published and not yet confirmed."""
        self._queue = queue
        self._parked = parked
        self._probe: Delivery | None = None
        self._told = Repeated(log, "reply.dead_lettered")

    def __len__(self) -> int:
        """Number of replies that wait for the dead-letter queue, with the probe."""
        return len(self.aside) + (self._probe is not None)

    @property
    def room(self) -> int:
        """How many more dead letters may be published now."""
        return 0 if self.outage.error else PARKING - self.under_way

    def may_go(self, delivery: Delivery) -> bool:
        """Whether the reply may be published now; else it must be set aside."""
        if delivery is self._probe:
            return True
        return self.under_way < PARKING and not (self.outage.error and self._probe)

    def letter(self, delivery: Delivery, parked: Park) -> Message:
        """Build the dead letter and count it as under way; during an outage it is the probe."""
        if self.outage.error:
            self._probe = delivery
        self.under_way += 1
        properties = delivery.properties
        letter = dead_letter(self._queue, delivery.body, properties, parked.code, parked.detail)
        return letter.with_headers({ERROR_AT_HEADER: int(time.time())})

    def tell(self, delivery: Delivery, parked: Park) -> None:
        """Log and report a confirmed dead letter. Runs on the publisher's thread."""
        kind = (parked.code, *name(delivery.properties).values())
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
        self.under_way = 0
        self._probe = None

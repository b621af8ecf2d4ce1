"""Bad replies on their way to the dead-letter queue, and those that it does not take now.

While it takes none, one of them, the probe, is tried again every UNPARKED_RETRY seconds; the others
are set aside.
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
"""Dead letters on their way to a confirm at most."""
UNPARKED_RETRY = 5.0


class Parking:
    """The bad replies of one consumer. For the connection's own thread, but for ``tell``.

    ``parked`` is called with the code of each that the dead-letter queue has taken.
    """

    def __init__(self, queue: str, parked: Callable[[str], object]) -> None:
        self.outage = Outage(log, "dead_letters.failing", "dead_letters.back", queue=queue)
        """Whether the dead-letter queue takes what is parked."""
        self.aside = Aside()
        self.under_way = 0
        """Those that are published and have no confirm yet."""
        self._queue = queue
        self._parked = parked
        self._probe: Delivery | None = None
        self._told = Repeated(log, "reply.dead_lettered")

    def __len__(self) -> int:
        """Replies that the dead-letter queue does not take."""
        return len(self.aside) + (self._probe is not None)

    @property
    def room(self) -> int:
        """How many more may be published now."""
        return 0 if self.outage.error else PARKING - self.under_way

    def may_go(self, delivery: Delivery) -> bool:
        """Whether it may be published now, and not be set aside."""
        if delivery is self._probe:
            return True
        return self.under_way < PARKING and not (self.outage.error and self._probe)

    def letter(self, delivery: Delivery, parked: Park) -> Message:
        """The dead letter, which counts as under way from now on."""
        if self.outage.error:
            self._probe = delivery
        self.under_way += 1
        properties = delivery.properties
        letter = dead_letter(self._queue, delivery.body, properties, parked.code, parked.detail)
        return letter.with_headers({ERROR_AT_HEADER: int(time.time())})

    def tell(self, delivery: Delivery, parked: Park) -> None:
        """RabbitMQ has confirmed it. On the publisher's thread."""
        kind = (parked.code, *name(delivery.properties).values())
        of = {**sender(delivery.properties), **parked.about}
        self._told.tell(kind, code=parked.code, reason=parked.detail, **of)
        self._parked(parked.code)

    def taken(self, delivery: Delivery) -> None:
        """The dead-letter queue has it."""
        if delivery is self._probe:
            self._probe = None
            self.outage.end(waiting=len(self.aside))

    def refused(self, delivery: Delivery, why: str) -> bool:
        """The dead-letter queue has not taken it: whether it is the probe from now on."""
        self.outage.begin(why)
        if self._probe is None:
            self._probe = delivery
        return self._probe is delivery

    def is_probe(self, delivery: Delivery) -> bool:
        """Whether it is the one that is tried again."""
        return delivery is self._probe

    def take_old_probe(self) -> Delivery | None:
        """The probe, which is none any more, where it has waited for too long."""
        probe = self._probe
        if probe is None or self.under_way or time.monotonic() - probe.since <= REFRESH:
            return None
        self._probe = None
        return probe

    def lost(self) -> None:
        """The channel is gone: RabbitMQ delivers all of them again."""
        self.aside.clear()
        self.under_way = 0
        self._probe = None

"""What comes back: a delivery, and the outcomes that it may have."""

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.errors import Refused, Unavailable

log = logging.getLogger(__name__)

RETRY_FIRST = 0.5
RETRY_REFUSED = 5.0
RETRY_CAP = 60.0


@dataclass(frozen=True, slots=True)
class Ack:
    """SWF has answered, or nothing is left to answer: the message is done with."""


@dataclass(frozen=True, slots=True)
class Later:
    """Keep the message and hand it on again after so many seconds."""

    seconds: float
    reason: str = ""
    here: bool = False
    """However long it was kept: the tail of the queue would not have it just now."""


@dataclass(frozen=True, slots=True)
class Park:
    """It can never be accepted: to the dead-letter queue, then acknowledge it."""

    code: str
    detail: str
    about: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The task that it means, as far as that is known, for the log."""


Outcome = Ack | Later | Park


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message that was delivered and awaits its outcome."""

    carry_out: Callable[["Delivery", Outcome], object] = field(repr=False)
    """Of the consumer that it came from."""
    queue: str
    body: bytes
    properties: Mapping[str, Any]
    redelivered: bool
    life: int = field(repr=False)
    tag: int = field(repr=False)
    since: float = field(repr=False)
    """Monotonic seconds when it came."""

    def __repr__(self) -> str:
        return f"<Delivery {self.tag} of {self.queue}, {len(self.body)} bytes>"

    def settle(self, outcome: Outcome) -> None:
        """Have the consumer that it came from carry the outcome out. Never blocks."""
        self.carry_out(self, outcome)


Settled = list[tuple[Delivery, Outcome]]
"""Deliveries with their outcomes, for their consumers to carry out."""


def settle_all(settled: Settled) -> None:
    """Have each outcome carried out by the consumer that the delivery came from."""
    for delivery, outcome in settled:
        delivery.settle(outcome)


def put_off(delivery: Delivery, error: Unavailable) -> Later:
    """Wait about as long as the delivery has waited already: capped, exponential, jittered."""
    waited = time.monotonic() - delivery.since
    first = RETRY_REFUSED if isinstance(error, Refused) else RETRY_FIRST
    seconds = min(RETRY_CAP, max(first, waited)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    log.debug("reply.later", extra={"seconds": round(seconds, 1), "error": error.code})
    return Later(seconds, str(error))

"""A delivery from RabbitMQ, and its possible outcomes."""

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
"""Seconds before a retry: the first, the first after a refusal by SWF, and the maximum."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Acknowledge the message: SWF has answered, or there is nothing to tell it."""


@dataclass(frozen=True, slots=True)
class Later:
    """Hold the message and deliver it again after ``seconds``."""

    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Park:
    """Publish the message to the dead-letter queue, then acknowledge it."""

    code: str
    detail: str
    about: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Fields that name its task in the log, as far as the task is known."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Keep the message in hand, and raise the prefetch for it: another outcome follows."""


Outcome = Ack | Later | Park | Wait


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A delivered message that awaits its outcome."""

    carry_out: Callable[["Delivery", Outcome], object] = field(repr=False)
    """``Consumer.settle`` of the one that received it."""
    queue: str
    body: bytes
    properties: Mapping[str, Any]
    redelivered: bool
    life: int = field(repr=False)
    tag: int = field(repr=False)
    since: float = field(repr=False)
    """Monotonic seconds at which it was received."""

    def __repr__(self) -> str:
        return f"<Delivery {self.tag} of {self.queue}, {len(self.body)} bytes>"


Settled = list[tuple[Delivery, Outcome]]
"""Deliveries with their outcomes, to be carried out."""


def settle_all(settled: Settled) -> None:
    """Have each outcome carried out by the consumer of its delivery. Never blocks."""
    for delivery, outcome in settled:
        delivery.carry_out(delivery, outcome)


def put_off(delivery: Delivery, error: Unavailable) -> Later:
    """Hold a delivery about as long as it has waited so far: at most RETRY_CAP, jittered."""
    waited = time.monotonic() - delivery.since
    first = RETRY_REFUSED if isinstance(error, Refused) else RETRY_FIRST
    seconds = min(RETRY_CAP, max(first, waited)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    log.debug("reply.later", extra={"seconds": round(seconds, 1), "error": error.code})
    return Later(seconds, str(error))

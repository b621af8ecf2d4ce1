"""What the journal tells of tasks in hand."""

from dataclasses import dataclass
from typing import NamedTuple

from bridge.message.tasks import decode_task
from bridge.task import ActivityTask


class InHand(NamedTuple):
    """What a settled task was: where it was polled, and when (seconds since the epoch)."""

    domain: str
    task_list: str
    polled_at: float


class Standing(NamedTuple):
    """How the tasks in hand of one list stand."""

    tasks: int
    owed: int
    """Those of them that RabbitMQ has not confirmed."""
    oldest: float
    """When the oldest of them was polled, in seconds since the epoch."""
    next_deadline: float | None = None
    """When SWF gives the next of them up, by SWF's clock, as far as that is known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A task in hand, and how far it has come."""

    task: ActivityTask
    body: bytes
    published: bool
    first_word: bool
    cancel_noticed: bool


def entry_of(row: tuple[bytes, float, float | None, int, int, int]) -> Entry:
    """The entry of a row of the journal: body, times of the poll by two clocks, three flags."""
    body, polled_at, given_at, *flags = row
    return Entry(decode_task(body, polled_at, given_at), body, *map(bool, flags))

"""What the journal tells of tasks in hand."""

from dataclasses import dataclass
from typing import NamedTuple

from bridge.message import decode_task
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


@dataclass(frozen=True, slots=True)
class Entry:
    """A task in hand, and how far it has come."""

    task: ActivityTask
    body: bytes
    published: bool
    first_word: bool
    cancel_noticed: bool


def entry_of(row: tuple[bytes, float, int, int, int]) -> Entry:
    """The entry of a row of the journal: body, time of the poll, three flags."""
    body, polled_at, *flags = row
    return Entry(decode_task(body, polled_at), body, *map(bool, flags))

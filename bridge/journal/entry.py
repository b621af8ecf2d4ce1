"""The records in which the journal returns tasks in hand."""

from dataclasses import dataclass
from typing import NamedTuple

from bridge.message.message import decode_task
from bridge.task import ActivityTask


class InHand(NamedTuple):
    """Where and when (seconds since the epoch) a task in hand was polled."""

    domain: str
    task_list: str
    polled_at: float


class Standing(NamedTuple):
    """A summary of the tasks in hand of one task list."""

    tasks: int
    owed: int
    """Number of tasks that RabbitMQ has not confirmed."""
    oldest: float
    """When the oldest task was polled, in seconds since the epoch."""
    next_deadline: float | None = None
    """The earliest known deadline of a task, in seconds since the epoch by SWF's clock."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A task in hand, and its state: published, first reply seen, cancellation requested."""

    task: ActivityTask
    body: bytes
    published: bool
    first_word: bool
    cancel_noticed: bool


def entry_of(row: tuple[bytes, float, float | None, int, int, int]) -> Entry:
    """Build an entry from a row: body, poll time by our clock and by SWF's, three flags."""
    body, polled_at, given_at, *flags = row
    return Entry(decode_task(body, polled_at, given_at), body, *map(bool, flags))

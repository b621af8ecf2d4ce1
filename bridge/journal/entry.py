"""The records in which the journal returns tasks in hand, and the check for damaged rows.

SQLite keeps no checksums and accepts a row with a wrong byte. Without the check a row that cannot
be decoded as a task would end the daemon at every start.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

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


_TEXTS = (
    "token",
    "activity_id",
    "workflow_id",
    "run_id",
    "name",
    "version",
    "domain",
    "task_list",
)


def check_tasks(rows: Iterable[tuple[Any, ...]]) -> None:
    """Decode every row (id, domain, task list, time of the poll, body) as later reads do.

    Raises ValueError, TypeError, KeyError or AttributeError for a damaged row.
    """
    for task_id, domain, task_list, polled_at, body in rows:
        task = decode_task(body, float(polled_at))
        is_whole = _is_whole(task) and (domain, task_list) == (task.domain, task.task_list)
        if task.id != task_id or not is_whole:
            raise ValueError(f"task {task_id!r:.40}")


def _is_whole(task: ActivityTask) -> bool:
    return (
        all(isinstance(getattr(task, name), str) for name in _TEXTS)
        and isinstance(task.started_event_id, int)
        and isinstance(task.input, str | None)
    )

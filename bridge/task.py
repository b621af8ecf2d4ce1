"""What passes over the bridge: a task one way, a reply the other; with the limits that SWF sets.

Limits are those of the Amazon SWF API Reference, counted as SWF counts them: in UTF-16 code units.
"""

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

TOKEN_LIMIT = 1024
RESULT_LIMIT = 32768
REASON_LIMIT = 256
DETAILS_LIMIT = 32768
HEARTBEAT_DETAILS_LIMIT = 2048

ELLIPSIS = "…"

TaskListId = tuple[str, str]
"""A task list: its domain and its name."""


def task_id(token: str) -> str:
    """The name of a task in logs, journal and messages; it does not tell the token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def utf16_length(text: str) -> int:
    """The length of ``text`` as SWF counts it: characters beyond U+FFFF are two."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """``text``, or as much of it as fits ``limit`` UTF-16 code units, ending in an ellipsis."""
    if utf16_length(text) <= limit:
        return text
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * (limit - len(ELLIPSIS))]
    if units and 0xD8 <= units[-1] <= 0xDB:  # the first half of a character of two
        units = units[:-2]
    return units.decode("utf-16-le", "surrogatepass") + ELLIPSIS


@dataclass(frozen=True, slots=True)
class ActivityTask:
    """An ActivityTask as PollForActivityTask answers it, and where and when it was polled."""

    token: str
    activity_id: str
    started_event_id: int
    workflow_id: str
    run_id: str
    name: str
    version: str
    input: str | None
    domain: str
    task_list: str
    polled_at: float
    """Seconds since the epoch."""
    given_at: float | None = field(default=None, compare=False)
    """The same by SWF's own clock, in whole seconds, rounded down; None where SWF did not tell."""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", task_id(self.token))

    def __repr__(self) -> str:
        return f"<ActivityTask {self.id} {self.name} {self.version} {self.domain}/{self.task_list}>"


class Timeouts(NamedTuple):
    """How long SWF waits for a task, in seconds; None where it waits for ever, or none is known."""

    start_to_close: float | None = None
    schedule_to_close: float | None = None
    heartbeat: float | None = None

    def deadline(self, scheduled_at: float, started_at: float) -> "Deadline":
        """The deadline of a task that was scheduled and started then."""
        ends = [
            begin + limit
            for begin, limit in (
                (scheduled_at, self.schedule_to_close),
                (started_at, self.start_to_close),
            )
            if limit is not None
        ]
        silent = None if self.heartbeat is None else started_at + self.heartbeat
        return Deadline(min(ends, default=None), silent)


class Deadline(NamedTuple):
    """When SWF gives a task up, in seconds since the epoch by SWF's clock; None: it never does."""

    close_by: float | None = None
    beat_by: float | None = None
    """Then at the latest, unless its worker has spoken before."""

    @property
    def at(self) -> float | None:
        """The earlier of both."""
        return min((each for each in self if each is not None), default=None)

    @property
    def after_first_word(self) -> "Deadline":
        """What is left of it once the task's worker has spoken."""
        return Deadline(self.close_by)


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """What a worker says of a task; the token alone names the task."""

    token: str
    task: str = field(init=False, compare=False)
    """The id of the task that is meant."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", task_id(self.token))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.task}>"


@dataclass(frozen=True, slots=True, repr=False)
class Completed(Reply):
    """The task is done: RespondActivityTaskCompleted."""

    result: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Failed(Reply):
    """The task could not be done: RespondActivityTaskFailed."""

    reason: str | None = None
    details: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Canceled(Reply):
    """The worker followed a request to cancel: RespondActivityTaskCanceled."""

    details: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Heartbeat(Reply):
    """The worker is alive: RecordActivityTaskHeartbeat."""

    details: str | None = None

"""Tasks, their time-outs, and replies, with SWF's limits on lengths.

The limits are those of the Amazon SWF API Reference, in UTF-16 code units, as SWF counts.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import NamedTuple

TOKEN_LIMIT = 1024
RESULT_LIMIT = 32768
REASON_LIMIT = 256
DETAILS_LIMIT = 32768
HEARTBEAT_DETAILS_LIMIT = 2048

ELLIPSIS = "…"
_BEYOND_FFFF = re.compile("[\U00010000-\U0010ffff]")

TaskListId = tuple[str, str]
"""A task list: its domain and its name."""


def task_id(token: str) -> str:
    """The id of a task in logs, journal and messages; it does not reveal the token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def utf16_length(text: str) -> int:
    """The length of ``text`` as SWF counts it: characters beyond U+FFFF count twice."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode("utf-16-le")) // 2
    except UnicodeEncodeError:  # of lone surrogates; "surrogatepass" is slow where there are many
        return len(text) + len(_BEYOND_FFFF.findall(text))


def cut(text: str, limit: int) -> str:
    """``text``, cut to ``limit`` UTF-16 code units if longer, the ellipsis at its end included."""
    if utf16_length(text) <= limit:
        return text
    units = text[:limit].encode("utf-16-le", "surrogatepass")[: 2 * (limit - len(ELLIPSIS))]
    if units and 0xD8 <= units[-1] <= 0xDB:  # a high surrogate whose other half was cut off
        units = units[:-2]
    return units.decode("utf-16-le", "surrogatepass") + ELLIPSIS


@dataclass(frozen=True, slots=True)
class ActivityTask:
    """An ActivityTask returned by PollForActivityTask, with the place and time of the poll."""

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
    """The same by SWF's clock, rounded down to whole seconds; None if SWF sent no time."""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", task_id(self.token))

    def __repr__(self) -> str:
        return f"<ActivityTask {self.id} {self.name} {self.version} {self.domain}/{self.task_list}>"


class Timeouts(NamedTuple):
    """A task's time-outs in seconds; None if there is none or it is not known."""

    start_to_close: float | None = None
    schedule_to_close: float | None = None
    heartbeat: float | None = None

    def deadline(self, scheduled_at: float, started_at: float) -> "Deadline":
        """The deadline of a task scheduled and started at these times."""
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
    """When SWF times out a task, in seconds since the epoch by SWF's clock; None: never."""

    close_by: float | None = None
    beat_by: float | None = None
    """The heartbeat time-out, which applies until the first heartbeat."""

    @property
    def at(self) -> float | None:
        """The earlier of both times, or None."""
        return min((each for each in self if each is not None), default=None)

    @property
    def after_first_word(self) -> "Deadline":
        """The deadline without the first heartbeat's time-out."""
        return Deadline(self.close_by)


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A worker's message about a task, which the token identifies."""

    token: str
    task: str = field(init=False, compare=False)
    """The id of the task."""

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

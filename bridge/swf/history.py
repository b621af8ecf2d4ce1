"""A workflow's history as SWF answers it, read from its end: what became of one activity task.

Events are those of the API reference, HistoryEvent. A history may be a stranger's: time-outs that
cannot be read count as none, and times that cannot be read as not told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.swf.codes import OTHER
from bridge.task import Deadline, Timeouts

_TIMEOUTS = {"SCHEDULE_TO_START", "SCHEDULE_TO_CLOSE", "START_TO_CLOSE", "HEARTBEAT"}
_CLOSE_EVENTS = {
    "ActivityTaskCanceled": "canceled",
    "ActivityTaskCompleted": "completed",
    "ActivityTaskFailed": "failed",
    "ActivityTaskTimedOut": "timed out",
    "WorkflowExecutionCanceled": "workflow canceled",
    "WorkflowExecutionCompleted": "workflow completed",
    "WorkflowExecutionContinuedAsNew": "workflow continued as new",
    "WorkflowExecutionFailed": "workflow failed",
    "WorkflowExecutionTerminated": "workflow terminated",
    "WorkflowExecutionTimedOut": "workflow timed out",
}

Event = Mapping[str, Any]
TIMEOUT_DIGITS = 8
"""SWF writes a time-out in at most so many (API reference, DurationInSecondsOptional)."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a history says of one task, as far as it was read."""

    closed: str | None = None
    """How the task was closed."""
    timeouts: Timeouts | None = None
    """As it was scheduled."""
    deadline: Deadline | None = None
    """By these, and by the times of its events. None where one of them is not told."""
    whole: bool = True
    """Whether it was read so far back that the task would be open if it was not closed."""


def read(events: Iterable[Event], started_event_id: int) -> Look:
    """What a page of history, the newest event first, says of the task that started so.

    Raises AttributeError, LookupError or TypeError for events that are not shaped as SWF's.
    """
    closed: str | None = None
    started: Event | None = None
    for event in events:
        if started is not None:
            if event["eventId"] == _attributes(started).get("scheduledEventId"):
                return _with_times(closed, event, started)
        elif event["eventId"] == started_event_id:
            started = event
        elif event["eventId"] < started_event_id:
            return Look(closed)
        else:
            closed = closed or _closes(event, started_event_id)
    return Look(closed, whole=closed is not None or started is not None)


def timeouts_of(fields: Mapping[str, Any], name: str = "{}Timeout") -> Timeouts:
    """The time-outs among the attributes of an event, or of a type with the ``name`` of these."""
    starts, closes, beats = ("startToClose", "scheduleToClose", "heartbeat")
    if name[0] != "{":
        starts, closes, beats = ("StartToClose", "ScheduleToClose", "Heartbeat")
    return Timeouts(*(_seconds(fields.get(name.format(each))) for each in (starts, closes, beats)))


def _with_times(closed: str | None, scheduled: Event, started: Event) -> Look:
    timeouts = timeouts_of(_attributes(scheduled))
    scheduled_at, started_at = _time(scheduled), _time(started)
    if scheduled_at is None or started_at is None:
        return Look(closed, timeouts)
    return Look(closed, timeouts, timeouts.deadline(scheduled_at, started_at))


def _closes(event: Event, started_event_id: int) -> str | None:
    """How ``event`` closed the task, where it did."""
    kind = event["eventType"]
    how = _CLOSE_EVENTS.get(kind)
    if how is None or kind.startswith("Workflow"):
        return how
    attributes = _attributes(event)
    if attributes.get("startedEventId") != started_event_id:
        return None
    timeout = attributes.get("timeoutType")
    if not timeout:
        return how
    return f"{how} ({timeout if timeout in _TIMEOUTS else OTHER})"


def _attributes(event: Event) -> Mapping[str, Any]:
    kind: str = event["eventType"]
    attributes: Mapping[str, Any] = event[f"{kind[0].lower()}{kind[1:]}EventAttributes"]
    return attributes


def _seconds(value: object) -> float | None:
    """A time-out; NONE, what is absent, and what is no number of SWF's is none."""
    if not isinstance(value, str) or len(value) > TIMEOUT_DIGITS:
        return None
    return float(value) if value.isascii() and value.isdigit() else None


def _time(event: Event) -> float | None:
    """When it happened: boto3 makes a datetime of it, JSON has a number."""
    at = event.get("eventTimestamp")
    if isinstance(at, datetime):
        at = at.timestamp()
    if isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < 1e11:
        return float(at)
    return None

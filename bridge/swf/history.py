"""Reads from a workflow's history, newest event first, what became of one activity task.

Events are those of the SWF API Reference, HistoryEvent. The history may come from another server
than SWF: a time-out that cannot be read counts as none, a time that cannot be read as missing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.swf.errors import OTHER
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
"""Digits of a time-out at most (SWF API Reference, DurationInSecondsOptional)."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the part of a history that was read says of one task."""

    closed: str | None = None
    """How the task was closed; None if no event that closed it was read."""
    timeouts: Timeouts | None = None
    """The task's time-outs, from the event that scheduled it."""
    deadline: Deadline | None = None
    """The deadline, from the time-outs and event times; None if an event time is missing."""
    whole: bool = True
    """Whether the part read decides: the task is open if ``closed`` is None."""


def read(events: Iterable[Event], started_event_id: int) -> Look:
    """What a page of history, newest event first, says of the task started by that event.

    Raises AttributeError, LookupError or TypeError for events that are not structured as SWF's.
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
    """The time-outs in an event's attributes, or in a type's with its ``name`` pattern."""
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
    """How ``event`` closed the task; None if it did not."""
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
    """A time-out in seconds; None for ``NONE``, an absent value or one not written as SWF does."""
    if not isinstance(value, str) or len(value) > TIMEOUT_DIGITS:
        return None
    return float(value) if value.isascii() and value.isdigit() else None


def _time(event: Event) -> float | None:
    """The event's time in seconds since the epoch: a datetime from boto3, a number in JSON."""
    at = event.get("eventTimestamp")
    if isinstance(at, datetime):
        at = at.timestamp()
    if isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < 1e11:
        return float(at)
    return None

"""Workflow executions and their activity tasks, with their whole history and scripted events.

An execution has what an activity worker can see of it. There are no decision tasks, so
`decisionTaskCompletedEventId` is 0 in every event. Executions stay open until terminated.
"""

import hashlib
import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ACTIONS = {"cancelAfter": "cancel", "timeOutAfter": "time-out", "terminateAfter": "terminate"}
"""The action by the member of a submitted task."""

_BEATS = "beats:"


@dataclass(frozen=True)
class Step:
    """An action, and its time: `seconds` after the task was started, or a heartbeat."""

    action: str
    seconds: float | None = None
    beats: int | None = None
    """The number of the heartbeat, from 1; the action comes before its answer."""


def steps(task: Mapping[str, Any]) -> tuple[Step, ...]:
    """The script of a submitted task. Raises ValueError that names a wrong member."""
    return tuple(
        _step(member, action, task[member])
        for member, action in ACTIONS.items()
        if task.get(member) is not None
    )


def _step(member: str, action: str, when: Any) -> Step:
    if isinstance(when, str) and when.startswith(_BEATS):
        number = when.removeprefix(_BEATS)
        if number.isascii() and number.isdigit() and int(number):
            return Step(action, beats=int(number))
    else:
        try:
            seconds = float(when)
        except (TypeError, ValueError):
            seconds = -1.0
        if 0 <= seconds < 1e8:
            return Step(action, seconds=seconds)
    raise ValueError(f"{member} wants seconds, or {_BEATS}N")


OPEN_STATES = ("scheduled", "started")

Event = dict[str, Any]
TYPE = {"name": "local", "version": "1"}
_TASK_LIST = {"name": "local"}
_TIMEOUTS = {"taskStartToCloseTimeout": "NONE", "executionStartToCloseTimeout": "31536000"}


@dataclass(frozen=True)
class Timeouts:
    """The time-outs of a task in seconds; None stands for NONE."""

    schedule_to_start: float | None = None
    schedule_to_close: float | None = None
    start_to_close: float | None = None
    heartbeat: float | None = None

    def attributes(self) -> dict[str, str]:
        """Return the time-outs as members of ActivityTaskScheduledEventAttributes."""
        return {
            "scheduleToStartTimeout": _whole(self.schedule_to_start),
            "scheduleToCloseTimeout": _whole(self.schedule_to_close),
            "startToCloseTimeout": _whole(self.start_to_close),
            "heartbeatTimeout": _whole(self.heartbeat),
        }


def _whole(seconds: float | None) -> str:
    return "NONE" if seconds is None else str(math.ceil(seconds))


@dataclass(slots=True)
class Moment:
    """An instant on two clocks: `at` in Unix seconds, `tick` in the loop's seconds."""

    tick: float
    at: float = field(default_factory=lambda: round(time.time(), 6))


@dataclass(eq=False, slots=True)
class Execution:
    """One run of a workflow: its ids, its events and its open tasks."""

    domain: str
    workflow_id: str
    run_id: str = field(default_factory=lambda: f"22{uuid.uuid4().hex}=")
    events: list[Event] = field(default_factory=list)
    open: "dict[str, Task]" = field(default_factory=dict)
    """Open activity tasks by activity id, oldest first."""
    remembered: int = 0
    """The number of its activity tasks in `Swf.tasks`, open or closed."""
    cancel_requested: bool = False
    closed_at: float | None = None
    latest_activity_at: float | None = None

    def __post_init__(self) -> None:
        self.record(
            "WorkflowExecutionStarted",
            {
                "childPolicy": "TERMINATE",
                "taskList": _TASK_LIST,
                "workflowType": TYPE,
                "parentInitiatedEventId": 0,
                **_TIMEOUTS,
            },
        )

    @property
    def key(self) -> dict[str, str]:
        """The WorkflowExecution structure that names this run."""
        return {"workflowId": self.workflow_id, "runId": self.run_id}

    def record(self, event_type: str, attributes: dict[str, Any]) -> int:
        """Add an event and return its id; attributes that are None are omitted."""
        event_id = len(self.events) + 1
        member = f"{event_type[0].lower()}{event_type[1:]}EventAttributes"
        self.events.append(
            {
                "eventId": event_id,
                "eventTimestamp": round(time.time(), 3),
                "eventType": event_type,
                member: {k: v for k, v in attributes.items() if v is not None},
            }
        )
        return event_id

    def describe(self) -> dict[str, Any]:
        """Return the execution as DescribeWorkflowExecution does."""
        info: dict[str, Any] = {
            "execution": self.key,
            "workflowType": TYPE,
            "startTimestamp": self.events[0]["eventTimestamp"],
            "executionStatus": "OPEN" if self.closed_at is None else "CLOSED",
            "cancelRequested": self.cancel_requested,
        }
        if self.closed_at is not None:
            info |= {"closeTimestamp": self.closed_at, "closeStatus": "TERMINATED"}
        answer: dict[str, Any] = {
            "executionInfo": info,
            "executionConfiguration": {
                "taskList": _TASK_LIST,
                "childPolicy": "TERMINATE",
                **_TIMEOUTS,
            },
            "openCounts": {
                "openActivityTasks": len(self.open),
                "openDecisionTasks": 0,
                "openTimers": 0,
                "openChildWorkflowExecutions": 0,
                "openLambdaFunctions": 0,
            },
        }
        if self.latest_activity_at is not None:
            answer["latestActivityTaskTimestamp"] = self.latest_activity_at
        return answer


@dataclass(eq=False, slots=True)
class Task:
    """An activity task; only the model changes it."""

    id: str
    execution: Execution
    activity_id: str
    name: str
    version: str
    task_list: str
    input: str | None
    timeouts: Timeouts
    priority: int
    scheduled: Moment
    scheduled_event: int = 0
    script: tuple[Step, ...] = ()

    state: str = "scheduled"
    token: str | None = None
    started: Moment | None = None
    started_event: int = 0
    identity: str | None = None
    unheard: str | None = None
    """The reason why the poll's answer with this task cannot have reached its client."""
    heartbeats: list[tuple[float, str | None]] = field(default_factory=list)
    beaten: float = 0.0
    cancel_requested: Moment | None = None
    cancel_event: int | None = None
    cancel_told: float | None = None
    closed: Moment | None = None
    timeout_type: str | None = None
    result: str | None = None
    reason: str | None = None
    details: str | None = None
    refused: list[tuple[float, str, str]] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether the task is not closed yet."""
        return self.closed is None

    @property
    def message_id(self) -> str | None:
        """The bridge's id of the task: the first 32 hex digits of the token's SHA-256."""
        return self.token and hashlib.sha256(self.token.encode()).hexdigest()[:32]

    def as_polled(self) -> dict[str, Any]:
        """Return the ActivityTask of a poll's answer (API_PollForActivityTask)."""
        answer: dict[str, Any] = {
            "taskToken": self.token,
            "activityId": self.activity_id,
            "startedEventId": self.started_event,
            "workflowExecution": self.execution.key,
            "activityType": {"name": self.name, "version": self.version},
        }
        if self.input is not None:
            answer["input"] = self.input
        return answer

    def deadline(self) -> tuple[float, str] | None:
        """Return the next time-out as (tick, timeoutType), or None."""
        limits, due = self.timeouts, []
        if limits.schedule_to_close is not None:
            due.append((self.scheduled.tick + limits.schedule_to_close, "SCHEDULE_TO_CLOSE"))
        if self.started is None:
            if limits.schedule_to_start is not None:
                due.append((self.scheduled.tick + limits.schedule_to_start, "SCHEDULE_TO_START"))
        else:
            if limits.start_to_close is not None:
                due.append((self.started.tick + limits.start_to_close, "START_TO_CLOSE"))
            if limits.heartbeat is not None:
                due.append((self.beaten + limits.heartbeat, "HEARTBEAT"))
        return min(due, default=None)

    def view(self, *, payload: bool) -> dict[str, Any]:
        """Return the task as JSON members; token, input, result and details only with `payload`."""
        shown: dict[str, Any] = {
            "id": self.id,
            "state": self.state,
            "domain": self.execution.domain,
            "taskList": self.task_list,
            "name": self.name,
            "version": self.version,
            "activityId": self.activity_id,
            **self.execution.key,
            "priority": self.priority,
            "timeouts": self.timeouts.attributes(),
            "messageId": self.message_id,
            "scheduledAt": self.scheduled.at,
            "startedAt": self.started and self.started.at,
            "identity": self.identity,
            "unheard": self.unheard,
            "heartbeats": [at for at, _ in self.heartbeats],
            "cancelRequestedAt": self.cancel_requested and self.cancel_requested.at,
            "cancelToldAt": self.cancel_told,
            "closedAt": self.closed and self.closed.at,
            "timeoutType": self.timeout_type,
            "reason": self.reason,
            "inputLength": _length(self.input),
            "resultLength": _length(self.result),
            "detailsLength": _length(self.details),
            "refused": [
                {"at": at, "operation": operation, "fault": fault}
                for at, operation, fault in self.refused
            ],
        }
        if payload:
            shown |= {
                "taskToken": self.token,
                "input": self.input,
                "result": self.result,
                "details": self.details,
                "heartbeatDetails": [details for _, details in self.heartbeats],
            }
        return shown


def _length(text: str | None) -> int | None:
    return None if text is None else len(text)

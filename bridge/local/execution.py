"""A workflow execution and its history: the part of it that an activity worker can see.

There are no decision tasks: `decisionTaskCompletedEventId` is 0 in every event. An execution
stays open until it is terminated.
"""

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.local.task import Task

Event = dict[str, Any]
TYPE = {"name": "local", "version": "1"}
_TASK_LIST = {"name": "local"}
_TIMEOUTS = {"taskStartToCloseTimeout": "NONE", "executionStartToCloseTimeout": "31536000"}


@dataclass(eq=False, slots=True)
class Execution:
    """One run of a workflow: its identity, its events, what is open in it."""

    domain: str
    workflow_id: str
    run_id: str = field(default_factory=lambda: f"22{uuid.uuid4().hex}=")
    events: list[Event] = field(default_factory=list)
    open: "dict[str, Task]" = field(default_factory=dict)
    """Open activity tasks by activity id, oldest first."""
    remembered: int = 0
    """Activity tasks of it that are in the ledger, open or closed."""
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
        """Add an event and return its id; attributes that are None are left out."""
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

"""The operations of the Amazon SWF API that the local SWF has.

Each follows its page of the Amazon SWF API Reference, version 2012-01-25. Only
RequestCancelWorkflowExecution differs: as there is no decider, it also requests the cancellation of
each open activity.
"""

import base64
from collections.abc import Callable
from typing import Any

from bridge.local.swf.errors import SwfError
from bridge.local.swf.limits import MAX_PAGE, REQUESTS
from bridge.local.swf.model import Swf
from bridge.local.swf.registry import Domain, type_info
from bridge.local.swf.task import Task
from bridge.local.swf.tasklist import Caller, Poll

Request = dict[str, Any]
Answer = dict[str, Any] | None

_OTHERS = {
    "PollForDecisionTask", "RespondDecisionTaskCompleted", "CountPendingDecisionTasks",
    "StartWorkflowExecution", "SignalWorkflowExecution", "ListOpenWorkflowExecutions",
    "ListClosedWorkflowExecutions", "CountOpenWorkflowExecutions",
    "CountClosedWorkflowExecutions", "RegisterWorkflowType", "DescribeWorkflowType",
    "ListWorkflowTypes", "DeprecateWorkflowType", "UndeprecateWorkflowType",
    "DeleteWorkflowType", "DeprecateActivityType", "UndeprecateActivityType",
    "DeleteActivityType", "UndeprecateDomain", "ListTagsForResource", "TagResource",
    "UntagResource",
}  # fmt: skip


class Operations:
    """Carries out operations by their names in the API reference."""

    def __init__(self, swf: Swf) -> None:
        self._swf = swf
        self._registry = swf.registry
        self._calls: dict[str, Callable[[Request], Answer]] = {
            "RespondActivityTaskCompleted": self._completed,
            "RespondActivityTaskFailed": self._failed,
            "RespondActivityTaskCanceled": self._canceled,
            "RecordActivityTaskHeartbeat": self._heartbeat,
            "CountPendingActivityTasks": self._count_pending,
            "RegisterDomain": self._register_domain,
            "DescribeDomain": self._describe_domain,
            "DeprecateDomain": self._deprecate_domain,
            "ListDomains": self._list_domains,
            "RegisterActivityType": self._register_type,
            "DescribeActivityType": self._describe_type,
            "ListActivityTypes": self._list_types,
            "DescribeWorkflowExecution": self._describe_execution,
            "GetWorkflowExecutionHistory": self._history,
            "TerminateWorkflowExecution": self._terminate,
            "RequestCancelWorkflowExecution": self._request_cancel,
        }

    def call(self, operation: str, request: Request) -> Answer:
        """Carry out any operation except PollForActivityTask. Raises SwfError."""
        check(operation, request)
        return self._calls[operation](request)

    def poll(
        self, request: Request, caller: Caller, answer: Callable[[dict[str, Any]], None]
    ) -> Callable[[], None]:
        """Carry out PollForActivityTask. `answer` is called once, perhaps later. Raises SwfError.

        Returns the function to call when the client disconnects.
        """
        check("PollForActivityTask", request)
        domain, task_list = request["domain"], request["taskList"]["name"]

        def give(task: Task | None) -> None:
            answer(self.empty_poll() if task is None else task.as_polled())

        poll = Poll(request.get("identity"), caller, give)
        self._swf.poll(domain, task_list, poll)
        return lambda: self._swf.abandon(domain, task_list, poll)

    def empty_poll(self) -> dict[str, Any]:
        """Return the answer of a poll without a task."""
        if self._swf.options.absent_token:
            return {"startedEventId": 0}
        return {"startedEventId": 0, "taskToken": ""}

    # Activity tasks

    def _completed(self, request: Request) -> None:
        task = self._swf.by_token(request["taskToken"], "RespondActivityTaskCompleted")
        self._swf.complete(task, request.get("result"))

    def _failed(self, request: Request) -> None:
        task = self._swf.by_token(request["taskToken"], "RespondActivityTaskFailed")
        self._swf.fail(task, request.get("reason"), request.get("details"))

    def _canceled(self, request: Request) -> None:
        """Carry out RespondActivityTaskCanceled; refuse it if no cancel was requested."""
        operation = "RespondActivityTaskCanceled"
        task = self._swf.by_token(request["taskToken"], operation)
        if task.cancel_requested is None:
            refusal = SwfError(
                self._swf.options.canceled_fault,
                f"Unknown activity, scheduledEventId = {task.scheduled_event}",
            )
            raise self._swf.refuse(task, operation, refusal)
        self._swf.canceled(task, request.get("details"))

    def _heartbeat(self, request: Request) -> Answer:
        task = self._swf.by_token(request["taskToken"], "RecordActivityTaskHeartbeat")
        return {"cancelRequested": self._swf.heartbeat(task, request.get("details"))}

    def _count_pending(self, request: Request) -> Answer:
        domain, name = request["domain"], request["taskList"]["name"]
        self._registry.domain(domain)
        found = self._swf.lists.get((domain, name))
        return {"count": found.scheduled if found else 0, "truncated": False}

    # Domains and types

    def _register_domain(self, request: Request) -> None:
        name = request["name"]
        if name in self._registry.domains:
            raise SwfError("DomainAlreadyExistsFault", name)
        retention = request["workflowExecutionRetentionPeriodInDays"]
        self._registry.domains[name] = Domain(name, request.get("description"), retention)

    def _describe_domain(self, request: Request) -> Answer:
        domain = self._registry.domain(request["name"])
        return {
            "domainInfo": domain.info(),
            "configuration": {"workflowExecutionRetentionPeriodInDays": domain.retention},
        }

    def _deprecate_domain(self, request: Request) -> None:
        domain = self._registry.domain(request["name"])
        if domain.deprecated:
            raise SwfError("DomainDeprecatedFault", domain.name)
        domain.deprecated = True

    def _list_domains(self, request: Request) -> Answer:
        status = request["registrationStatus"]
        found = [d.info() for _, d in sorted(self._registry.domains.items()) if d.status == status]
        return page("domainInfos", found, request)

    def _register_type(self, request: Request) -> None:
        self._registry.domain(request["domain"]).register(request)

    def _describe_type(self, request: Request) -> Answer:
        named = request["activityType"]
        return self._registry.domain(request["domain"]).describe(named["name"], named["version"])

    def _list_types(self, request: Request) -> Answer:
        types = sorted(self._registry.domain(request["domain"]).activity_types.items())
        found = [
            type_info(registered)
            for (name, _), registered in types
            if request["registrationStatus"] == "REGISTERED" and request.get("name") in (None, name)
        ]
        return page("typeInfos", found, request)

    # Executions

    def _describe_execution(self, request: Request) -> Answer:
        named = request["execution"]
        return self._registry.execution(
            request["domain"], named["workflowId"], named["runId"]
        ).describe()

    def _history(self, request: Request) -> Answer:
        named = request["execution"]
        execution = self._registry.execution(request["domain"], named["workflowId"], named["runId"])
        return page("events", execution.events, request)

    def _terminate(self, request: Request) -> None:
        execution = self._registry.running(
            request["domain"], request["workflowId"], request.get("runId")
        )
        self._swf.terminate(
            execution,
            {
                "reason": request.get("reason"),
                "details": request.get("details"),
                "childPolicy": request.get("childPolicy", "TERMINATE"),
                "cause": None,
            },
        )

    def _request_cancel(self, request: Request) -> None:
        execution = self._registry.running(
            request["domain"], request["workflowId"], request.get("runId")
        )
        self._swf.request_cancel(execution)


def check(operation: str, request: Any) -> None:
    """Raise SwfError for an operation that is missing or a request that breaks a constraint."""
    shape = REQUESTS.get(operation)
    if shape is not None:
        shape.check(request)
        return
    if operation in _OTHERS:
        message = (
            f"The local SWF does not have {operation}: it is the activity half of Amazon SWF, "
            "without deciders. Submit tasks with `swf-bridge local submit`."
        )
    else:
        message = f"Amazon SWF has no operation {operation[:80]!r}."
    raise SwfError("UnknownOperationException", message)


def page(member: str, entries: list[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """Return the page of `entries` that the request asks for, as member `member`."""
    start = _offset(request.get("nextPageToken"))
    stop = start + (request.get("maximumPageSize") or MAX_PAGE)
    ordered = entries[::-1] if request.get("reverseOrder") else entries
    answer: dict[str, Any] = {member: ordered[start:stop]}
    if stop < len(entries):
        answer["nextPageToken"] = base64.b64encode(b"page:%d" % stop).decode("ascii")
    return answer


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(base64.b64decode(token, validate=True).decode("ascii").removeprefix("page:"))
    except ValueError as error:
        raise SwfError("ValidationException", "Invalid token") from error

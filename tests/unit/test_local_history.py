"""Executions and their histories, which the bridge asks to learn what became of a task."""

from collections.abc import Iterator
from typing import Any

import pytest

from bridge.local import LocalSwf
from tests.unit.local_wire import Wire


@pytest.fixture(scope="module")
def server() -> Iterator[LocalSwf]:
    with LocalSwf(hold=0.0) as running:
        yield running


@pytest.fixture
def swf(server: LocalSwf) -> LocalSwf:
    server.clear()
    return server


@pytest.fixture
def wire(server: LocalSwf) -> Iterator[Wire]:
    with Wire(server.endpoint) as connection:
        yield connection


def history(wire: Wire, execution: dict[str, str], **page: Any) -> dict[str, Any]:
    answer = wire.call("GetWorkflowExecutionHistory", domain="demo", execution=execution, **page)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json
    return found


def attributes(event: dict[str, Any]) -> dict[str, Any]:
    kind: str = event["eventType"]
    found: dict[str, Any] = event[f"{kind[0].lower()}{kind[1:]}EventAttributes"]
    return found


def test_a_completed_task_leaves_three_events_that_name_one_another(
    swf: LocalSwf, wire: Wire
) -> None:
    swf.submit("a", "1", "in", activity_id="x", heartbeat=5)
    task = wire.poll(identity="me").json
    wire.call("RespondActivityTaskCompleted", taskToken=task["taskToken"], result="out")
    started, scheduled, polled, closed = history(wire, task["workflowExecution"])["events"]
    assert [e["eventId"] for e in (started, scheduled, polled, closed)] == [1, 2, 3, 4]
    assert started["eventType"] == "WorkflowExecutionStarted"
    assert attributes(scheduled) == {
        "activityType": {"name": "a", "version": "1"},
        "activityId": "x",
        "input": "in",
        "scheduleToStartTimeout": "NONE",
        "scheduleToCloseTimeout": "NONE",
        "startToCloseTimeout": "NONE",
        "heartbeatTimeout": "5",
        "taskList": {"name": "demo"},
        "taskPriority": "0",
        "decisionTaskCompletedEventId": 0,
    }
    assert polled["eventType"] == "ActivityTaskStarted"
    assert attributes(polled) == {"scheduledEventId": 2, "identity": "me"}
    assert task["startedEventId"] == 3
    assert closed["eventType"] == "ActivityTaskCompleted"
    assert attributes(closed) == {"result": "out", "scheduledEventId": 2, "startedEventId": 3}


def test_a_canceled_task_names_the_request(swf: LocalSwf, wire: Wire) -> None:
    task_id = swf.submit(activity_id="x")
    task = wire.poll().json
    swf.cancel(task_id)
    wire.call("RespondActivityTaskCanceled", taskToken=task["taskToken"], details="d")
    *_, request, closed = history(wire, task["workflowExecution"])["events"]
    assert attributes(request) == {"activityId": "x", "decisionTaskCompletedEventId": 0}
    assert attributes(closed) == {
        "details": "d",
        "scheduledEventId": 2,
        "startedEventId": 3,
        "latestCancelRequestedEventId": request["eventId"],
    }


def test_a_failed_task_keeps_its_reason(swf: LocalSwf, wire: Wire) -> None:
    swf.submit()
    task = wire.poll().json
    wire.call("RespondActivityTaskFailed", taskToken=task["taskToken"], reason="r", details="d")
    closed = history(wire, task["workflowExecution"], reverseOrder=True)["events"][0]
    assert closed["eventType"] == "ActivityTaskFailed"
    assert attributes(closed) == {
        "reason": "r", "details": "d", "scheduledEventId": 2, "startedEventId": 3,
    }  # fmt: skip


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("events", [6, 7])
def test_a_history_comes_in_pages_in_either_order(
    swf: LocalSwf, wire: Wire, reverse: bool, events: int
) -> None:
    ids = swf.submit_many([{"workflowId": "w", "count": events - 1}])
    task = swf.task(ids[0])
    execution = {"workflowId": "w", "runId": task["runId"]}
    seen: list[int] = []
    token: dict[str, str] = {}
    while True:
        answer = history(wire, execution, maximumPageSize=3, reverseOrder=reverse, **token)
        assert 1 <= len(answer["events"]) <= 3
        seen += [event["eventId"] for event in answer["events"]]
        if "nextPageToken" not in answer:
            break
        token = {"nextPageToken": answer["nextPageToken"]}
    assert seen == sorted(range(1, events + 1), reverse=reverse)


def test_a_page_token_that_was_never_given_is_refused(swf: LocalSwf, wire: Wire) -> None:
    task = swf.task(swf.submit())
    execution = {"workflowId": task["workflowId"], "runId": task["runId"]}
    answer = wire.call(
        "GetWorkflowExecutionHistory", domain="demo", execution=execution, nextPageToken="never"
    )
    assert answer.json["message"] == "Invalid token"


def test_an_execution_tells_how_many_tasks_are_open_in_it(swf: LocalSwf, wire: Wire) -> None:
    ids = swf.submit_many([{"workflowId": "w", "count": 3}])
    wire.call("RespondActivityTaskCompleted", taskToken=wire.token())
    execution = {"workflowId": "w", "runId": swf.task(ids[0])["runId"]}
    described = wire.call("DescribeWorkflowExecution", domain="demo", execution=execution).json
    assert described["openCounts"]["openActivityTasks"] == 2
    assert described["executionInfo"]["executionStatus"] == "OPEN"
    assert described["executionInfo"]["execution"] == execution


def test_a_terminated_execution_is_closed_and_a_new_run_begins(swf: LocalSwf, wire: Wire) -> None:
    one = swf.task(swf.submit(workflow_id="w"))
    execution = {"workflowId": "w", "runId": one["runId"]}
    answer = wire.call("TerminateWorkflowExecution", domain="demo", workflowId="w", reason="why")
    assert answer.status == 200
    described = wire.call("DescribeWorkflowExecution", domain="demo", execution=execution).json
    assert described["executionInfo"]["executionStatus"] == "CLOSED"
    assert described["executionInfo"]["closeStatus"] == "TERMINATED"
    last = history(wire, execution)["events"][-1]
    assert attributes(last) == {"reason": "why", "childPolicy": "TERMINATE"}
    assert swf.task(one["id"])["state"] == "terminated"
    assert wire.poll().json["taskToken"] == ""
    again = wire.call("TerminateWorkflowExecution", domain="demo", workflowId="w")
    assert again.json["message"] == "Unknown execution, workflowId = w"
    assert swf.task(swf.submit(workflow_id="w"))["runId"] != one["runId"]


def test_cancelling_an_execution_asks_each_open_task_to_cancel(swf: LocalSwf, wire: Wire) -> None:
    ids = swf.submit_many([{"workflowId": "w", "count": 2}])
    token = wire.token()
    answer = wire.call("RequestCancelWorkflowExecution", domain="demo", workflowId="w")
    assert answer.status == 200
    beat = wire.call("RecordActivityTaskHeartbeat", taskToken=token)
    assert beat.json == {"cancelRequested": True}
    assert [swf.task(i)["state"] for i in ids] == ["started", "canceled"]


@pytest.mark.parametrize("run", ["22=", None])
def test_an_unknown_execution_is_refused(swf: LocalSwf, wire: Wire, run: str | None) -> None:
    del swf
    if run is None:
        answer = wire.call("RequestCancelWorkflowExecution", domain="demo", workflowId="no")
        assert answer.json["message"] == "Unknown execution, workflowId = no"
    else:
        execution = {"workflowId": "no", "runId": run}
        answer = wire.call("DescribeWorkflowExecution", domain="demo", execution=execution)
        assert answer.json["message"] == (
            "Unknown execution: WorkflowExecution=[workflowId=no, runId=22=]"
        )
    assert answer.error == "com.amazonaws.swf.base.model#UnknownResourceFault"


def test_domains_are_listed_by_status_and_page(swf: LocalSwf, wire: Wire) -> None:
    del swf
    for name in ("b", "a", "c"):
        wire.call("RegisterDomain", name=name, workflowExecutionRetentionPeriodInDays="7")
    wire.call("DeprecateDomain", name="c")
    page = wire.call("ListDomains", registrationStatus="REGISTERED", maximumPageSize=2).json
    assert [d["name"] for d in page["domainInfos"]] == ["a", "b"]
    rest = wire.call(
        "ListDomains", registrationStatus="REGISTERED", nextPageToken=page["nextPageToken"]
    ).json
    assert "demo" in [d["name"] for d in rest["domainInfos"]]
    (deprecated,) = wire.call("ListDomains", registrationStatus="DEPRECATED").json["domainInfos"]
    assert (deprecated["name"], deprecated["status"]) == ("c", "DEPRECATED")
    again = wire.call("RegisterDomain", name="a", workflowExecutionRetentionPeriodInDays="7")
    assert again.error.endswith("#DomainAlreadyExistsFault")


def test_activity_types_are_registered_described_and_listed(swf: LocalSwf, wire: Wire) -> None:
    del swf
    a = {"domain": "demo", "name": "typed", "version": "1"}
    assert wire.call("RegisterActivityType", **a, description="d").status == 200
    again = wire.call("RegisterActivityType", **a)
    assert again.json["message"] == "ActivityType=[name=typed, version=1]"
    named = {"name": "typed", "version": "1"}
    described = wire.call("DescribeActivityType", domain="demo", activityType=named).json
    assert described["typeInfo"]["activityType"] == named
    assert described["typeInfo"]["description"] == "d"
    listed = wire.call(
        "ListActivityTypes", domain="demo", registrationStatus="REGISTERED", name="typed"
    ).json
    assert [t["activityType"] for t in listed["typeInfos"]] == [named]
    unknown = wire.call(
        "DescribeActivityType", domain="demo", activityType={"name": "no", "version": "1"}
    )
    assert unknown.json["message"] == "Unknown type: ActivityType=[name=no, version=1]"

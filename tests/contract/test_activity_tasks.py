"""What moto's SWF has right, the local SWF has too: one suite over both, called with boto3."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.contract.sides import TASK_LIST, Side


def refusal(error: "pytest.ExceptionInfo[ClientError]") -> tuple[str, str, int]:
    answer = error.value.response
    said = answer["Error"]
    return said["Code"], said["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


def closing_event(side: Side, task: dict[str, Any]) -> dict[str, Any]:
    history = side.client.get_workflow_execution_history(
        domain=side.domain, execution=task["workflowExecution"]
    )
    closing = ("ActivityTaskCompleted", "ActivityTaskFailed")
    (event,) = (e for e in history["events"] if e["eventType"] in closing)
    return dict(event)


def test_a_poll_brings_the_fields_of_an_activity_task(side: Side) -> None:
    side.schedule("Greeter.say", "1.0", '{"to": "wörld"}', "greeting-1")
    task = side.poll()
    assert 1 <= len(task["taskToken"]) <= 1024
    assert task["activityId"] == "greeting-1"
    assert task["activityType"] == {"name": "Greeter.say", "version": "1.0"}
    assert set(task["workflowExecution"]) == {"workflowId", "runId"}
    assert task["startedEventId"] > 1
    assert task["input"] == '{"to": "wörld"}'


def test_a_task_without_input_has_none(side: Side) -> None:
    side.schedule("no-input", "1", None, "bare")
    task = side.poll()
    assert task["activityId"] == "bare"
    assert "input" not in task


def test_an_empty_poll_brings_no_token(side: Side) -> None:
    task = side.poll()
    assert not task.get("taskToken")
    assert task["startedEventId"] == 0


def test_a_completion_is_recorded_with_its_result(side: Side) -> None:
    side.schedule("complete", "1", "in", "c")
    task = side.poll()
    side.client.respond_activity_task_completed(taskToken=task["taskToken"], result="out")
    event = closing_event(side, task)
    attributes = event["activityTaskCompletedEventAttributes"]
    assert attributes["result"] == "out"
    assert attributes["startedEventId"] == task["startedEventId"]


def test_a_failure_is_recorded_with_reason_and_details(side: Side) -> None:
    side.schedule("fail", "1", "in", "f")
    task = side.poll()
    side.client.respond_activity_task_failed(
        taskToken=task["taskToken"], reason="no", details="because"
    )
    attributes = closing_event(side, task)["activityTaskFailedEventAttributes"]
    assert (attributes["reason"], attributes["details"]) == ("no", "because")


def test_a_heartbeat_says_that_no_cancel_was_requested(side: Side) -> None:
    side.schedule("beat", "1", None, "b")
    task = side.poll()
    answer = side.client.record_activity_task_heartbeat(taskToken=task["taskToken"], details="1")
    assert answer["cancelRequested"] is False
    side.client.respond_activity_task_completed(taskToken=task["taskToken"])


def test_a_second_answer_is_refused_as_of_an_unknown_activity(side: Side) -> None:
    side.schedule("twice", "1", None, "t")
    task = side.poll()
    side.client.respond_activity_task_completed(taskToken=task["taskToken"])
    with pytest.raises(side.client.exceptions.UnknownResourceFault) as error:
        side.client.respond_activity_task_completed(taskToken=task["taskToken"])
    code, message, status = refusal(error)
    scheduled = task["startedEventId"] - 1
    assert (code, status) == ("UnknownResourceFault", 400)
    assert message == f"Unknown activity, scheduledEventId = {scheduled}"


def test_an_answer_to_a_terminated_execution_is_refused(side: Side) -> None:
    side.schedule("ended", "1", None, "e")
    task = side.poll()
    execution = task["workflowExecution"]
    side.client.terminate_workflow_execution(domain=side.domain, workflowId=execution["workflowId"])
    with pytest.raises(side.client.exceptions.UnknownResourceFault) as error:
        side.client.respond_activity_task_completed(taskToken=task["taskToken"])
    workflow, run = execution["workflowId"], execution["runId"]
    assert refusal(error)[1] == (
        f"Unknown execution: WorkflowExecution=[workflowId={workflow}, runId={run}]"
    )


def test_noise_for_a_token_is_refused(side: Side) -> None:
    with pytest.raises(ClientError) as error:
        side.client.respond_activity_task_completed(taskToken="noise")
    assert refusal(error) == ("ValidationException", "Invalid token", 400)


def test_an_unknown_domain_is_refused(side: Side) -> None:
    with pytest.raises(side.client.exceptions.UnknownResourceFault) as error:
        side.client.poll_for_activity_task(domain="nowhere", taskList={"name": TASK_LIST})
    assert refusal(error) == ("UnknownResourceFault", "Unknown domain: nowhere", 400)


def test_a_domain_is_described_and_cannot_be_registered_twice(side: Side) -> None:
    described = side.client.describe_domain(name=side.domain)
    assert described["domainInfo"]["name"] == side.domain
    assert described["domainInfo"]["status"] == "REGISTERED"
    assert described["configuration"] == {"workflowExecutionRetentionPeriodInDays": "1"}
    with pytest.raises(side.client.exceptions.DomainAlreadyExistsFault):
        side.client.register_domain(name=side.domain, workflowExecutionRetentionPeriodInDays="1")


def test_pending_tasks_are_counted(side: Side) -> None:
    def pending() -> int:
        answer = side.client.count_pending_activity_tasks(
            domain=side.domain, taskList={"name": TASK_LIST}
        )
        return answer["count"]

    assert pending() == 0
    side.schedule("pending", "1", None, "p")
    assert pending() == 1
    side.client.respond_activity_task_completed(taskToken=side.poll()["taskToken"])
    assert pending() == 0

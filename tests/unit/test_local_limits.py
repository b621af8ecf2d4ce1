"""SWF's limits at their exact borders, and its errors as the service writes them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.local import ControlError, LocalSwf
from tests.unit.local_wire import Wire

VALIDATION = "com.amazon.coral.validate#ValidationException"
SERIALIZATION = "com.amazon.coral.service#SerializationException"
ASTRAL = "\U0001f600"


@pytest.fixture(scope="module")
def swf() -> Iterator[LocalSwf]:
    with LocalSwf(hold=0.0) as running:
        yield running


@pytest.fixture
def wire(swf: LocalSwf) -> Iterator[Wire]:
    swf.clear()
    with Wire(swf.endpoint) as connection:
        yield connection


BORDERS = [
    ("RespondActivityTaskCompleted", "result", 32768),
    ("RespondActivityTaskFailed", "reason", 256),
    ("RespondActivityTaskFailed", "details", 32768),
    ("RecordActivityTaskHeartbeat", "details", 2048),
]


@pytest.mark.parametrize(("operation", "member", "limit"), BORDERS)
@pytest.mark.parametrize("letter", ["x", ASTRAL], ids=["ascii", "astral"])
def test_a_text_at_its_limit_is_taken_and_one_unit_more_is_not(
    swf: LocalSwf, wire: Wire, operation: str, member: str, limit: int, letter: str
) -> None:
    swf.submit()
    token = wire.token()
    units = 2 if letter == ASTRAL else 1
    fits = letter * (limit // units)
    answer = wire.call(operation, taskToken=token, **{member: fits + "y"})
    assert answer.json == {
        "__type": VALIDATION,
        "message": f"1 validation error detected: Value at '{member}' failed to satisfy constraint:"
        f" Member must have length less than or equal to {limit}",
    }
    assert wire.call(operation, taskToken=token, **{member: fits}).status == 200


def test_canceled_details_have_the_limit_of_results(swf: LocalSwf, wire: Wire) -> None:
    task_id = swf.submit()
    token = wire.token()
    swf.cancel(task_id)
    operation = "RespondActivityTaskCanceled"
    assert wire.call(operation, taskToken=token, details="x" * 32769).error == VALIDATION
    assert wire.call(operation, taskToken=token, details="x" * 32768).status == 200


@pytest.mark.parametrize(
    ("member", "where"),
    [("identity", "identity"), ("domain", "domain"), ("task_list", "taskList.name")],
)
def test_names_in_a_poll_have_256_units(swf: LocalSwf, wire: Wire, member: str, where: str) -> None:
    answer = wire.poll(**{member: "x" * 257})
    assert answer.error == VALIDATION
    assert f"'{where}'" in answer.json["message"]
    swf.options(any_domain=True)
    assert wire.poll(**{member: "x" * 256}).status == 200
    swf.options(any_domain=False)


def test_a_token_over_its_limit_is_refused_by_length_and_one_at_it_by_itself(wire: Wire) -> None:
    def complete(token: Any) -> dict[str, str]:
        answer: dict[str, str] = wire.call("RespondActivityTaskCompleted", taskToken=token).json
        return answer

    over = complete("x" * 1025)
    assert over["__type"] == VALIDATION
    assert over["message"].endswith("'taskToken' failed to satisfy constraint: Member must have"
                                    " length less than or equal to 1024")  # fmt: skip
    assert "xx" not in over["message"]
    assert complete("x" * 1024) == {"__type": VALIDATION, "message": "Invalid token"}
    assert "greater than or equal to 1" in complete("")["message"]


def test_every_broken_constraint_is_told_in_one_answer(wire: Wire) -> None:
    message = wire.call("RespondActivityTaskFailed", reason="x" * 257).json["message"]
    assert message.startswith("2 validation errors detected: ")
    assert "Value null at 'taskToken' failed to satisfy constraint: Member must not be null" in (
        message
    )


@pytest.mark.parametrize("value", [7, True, ["x"], {"a": 1}])
def test_a_member_of_the_wrong_type_cannot_be_converted(wire: Wire, value: object) -> None:
    answer = wire.call("RespondActivityTaskCompleted", taskToken=value)
    assert answer.error == SERIALIZATION


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"a":' * 100_000])
def test_a_body_that_is_no_request_is_refused(wire: Wire, body: bytes) -> None:
    head = f"POST / HTTP/1.1\r\nX-Amz-Target: x.DescribeDomain\r\nContent-Length: {len(body)}"
    wire.socket.sendall(head.encode() + b"\r\n\r\n" + body)
    answer = wire.receive()
    assert answer.status == 400
    assert answer.error in (SERIALIZATION, VALIDATION)


@pytest.mark.parametrize("name", [" x", "x ", "a:b", "a/b", "a|b", "a\x00b", "a\x9fb", "arn"])
def test_names_that_swf_forbids_are_refused(wire: Wire, name: str) -> None:
    assert wire.poll(task_list=name).error == VALIDATION


@pytest.mark.parametrize("name", ["*", "#", "a.b", "a b", "arnold", "é", ASTRAL * 128])
def test_names_of_any_other_letters_are_taken(swf: LocalSwf, wire: Wire, name: str) -> None:
    task_id = swf.submit(name, task_list=name, activity_id=name, workflow_id=name)
    answer = wire.poll(task_list=name).json
    assert answer["activityType"]["name"] == answer["activityId"] == name
    assert swf.task(task_id)["taskList"] == name


@pytest.mark.parametrize("text", ["\x00", "\ud800", "\udfff\ud800", ASTRAL * 16384, "x" * 32768])
def test_any_input_that_swf_takes_arrives_unchanged(swf: LocalSwf, wire: Wire, text: str) -> None:
    swf.submit(input=text)
    assert wire.poll().json["input"] == text


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("input", "x" * 32769),
        ("name", "x" * 257),
        ("version", "1" * 65),
        ("activity_id", "x" * 257),
        ("workflow_id", "x" * 257),
        ("heartbeat", -1),
    ],
)
def test_a_task_that_swf_could_not_hold_is_not_submitted(
    swf: LocalSwf, wire: Wire, member: str, value: Any
) -> None:
    del wire
    with pytest.raises(ControlError):
        swf.submit(**{member: value})
    assert swf.counts()["total"] == 0


def test_a_batch_with_one_bad_task_submits_none(swf: LocalSwf, wire: Wire) -> None:
    del wire
    with pytest.raises(ControlError, match="a task has no colour"):
        swf.submit_many([{"name": "a"}, {"colour": "red"}])
    assert swf.counts()["total"] == 0


def test_an_activity_id_that_is_open_in_the_workflow_is_not_given_twice(
    swf: LocalSwf, wire: Wire
) -> None:
    swf.submit(workflow_id="w", activity_id="a")
    with pytest.raises(ControlError, match="is open in this workflow already"):
        swf.submit(workflow_id="w", activity_id="a")
    wire.call("RespondActivityTaskCompleted", taskToken=wire.token())
    swf.submit(workflow_id="w", activity_id="a")


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        ("StartWorkflowExecution", "The local SWF does not have StartWorkflowExecution"),
        ("PollForDecisionTask", "The local SWF does not have PollForDecisionTask"),
        ("MakeCoffee", "Amazon SWF has no operation 'MakeCoffee'"),
    ],
)
def test_an_operation_that_is_not_there_says_so(wire: Wire, operation: str, sentence: str) -> None:
    answer = wire.call(operation)
    assert answer.error == "com.amazon.coral.service#UnknownOperationException"
    assert sentence in answer.json["message"]


def test_a_token_of_an_earlier_life_is_of_an_unknown_activity(swf: LocalSwf, wire: Wire) -> None:
    swf.submit()
    token = wire.token()
    swf.clear()
    answer = wire.call("RespondActivityTaskCompleted", taskToken=token)
    assert answer.json["message"] == "Unknown activity, scheduledEventId = 2"
    altered = ("B" if token[300] == "A" else "A").join((token[:300], token[301:]))
    answer = wire.call("RespondActivityTaskCompleted", taskToken=altered)
    assert answer.json == {"__type": VALIDATION, "message": "Invalid token"}


def test_errors_are_json_of_the_content_type_of_aws(wire: Wire) -> None:
    answer = wire.call("DescribeDomain", name="nowhere")
    assert answer.headers["content-type"] == "application/x-amz-json-1.0"
    assert set(json.loads(answer.body)) == {"__type", "message"}

"""Contract §2, and the way back: what a worker is given, and that its answer closes the task."""

import hashlib
import time

import pytest

from tests.acceptance.harness import MARK, Site

pytestmark = pytest.mark.usefixtures("by_exec")

FROM_256_LETTERS = {
    "latin": "Greeter.say " + "x" * 244,
    "two bytes a letter": "é" * 256,
    "three bytes a letter": "語" * 256,
    "beyond the first plane": "𝒜" * 128,
    "wildcards": "*.#." * 63 + "*.#x",
    "dots alone": "." * 256,
    "a blank within": "a" + " " * 254 + "b",
}

INPUTS = {
    "none": None,
    "empty": "",
    "as long as SWF allows": MARK + "x" * (32768 - len(MARK)),
    "as long as SWF allows, of two units each": "𝒜" * 16384,
    "NUL": "a\0b",
    "lone surrogates": "\ud800 and \udfff, the wrong way round \udc00\ud800",
    "JSON": f'{{"{MARK}": ["\\u0000", null, 1e400]}}',
    "line ends": "\r\n\u2028\x85",
}


def test_a_task_goes_to_a_worker_and_its_result_goes_back(shared: Site) -> None:
    task_id, task = shared.hand_out("Greeter.say", "1.0", input=MARK)
    assert (task.routing_key, task.json["input"]) == ("Greeter.say.1.0", MARK)
    shared.worker.complete(task, f"{MARK} done")
    closed = shared.closed(task_id)
    assert (closed["state"], closed["result"]) == ("completed", f"{MARK} done")


def test_every_part_of_the_task_message_is_as_promised(shared: Site) -> None:
    before = int(time.time())
    task_id, task = shared.hand_out(
        "greet", "2", input="hello", workflow_id="order/1: a|b \ud800", activity_id="first"
    )
    known = shared.swf.task(task_id, payload=True)
    token = known["taskToken"]
    assert task.json == {
        "taskToken": token,
        "activityId": "first",
        "startedEventId": task.json["startedEventId"],
        "workflowExecution": {"workflowId": known["workflowId"], "runId": known["runId"]},
        "activityType": {"name": "greet", "version": "2"},
        "input": "hello",
        "domain": "demo",
        "taskList": "demo",
    }
    started = [e for e in shared.swf.history(task_id) if e["eventType"] == "ActivityTaskStarted"]
    assert task.json["startedEventId"] == started[0]["eventId"]
    assert task.body.isascii()
    properties = task.properties
    digest = hashlib.sha256(token.encode()).hexdigest()[:32]
    assert properties.message_id == properties.correlation_id == digest
    assert properties.reply_to == "swf.replies"
    assert properties.content_type == "application/json"
    assert properties.delivery_mode == 2
    assert properties.type == "swf.activity-task.v1"
    assert properties.app_id == "swf-bridge"
    assert before <= properties.timestamp <= time.time()
    attempt = task.headers.pop("swf-bridge-attempt")
    assert attempt
    assert task.headers == {
        "swf-task-token": token,
        "swf-domain": "demo",
        "swf-task-list": "demo",
        "swf-activity-id": "first",
        "swf-workflow-id": "order/1: a|b \ufffd",
        "swf-run-id": known["runId"],
    }
    shared.worker.complete(task)
    shared.closed(task_id)


@pytest.mark.parametrize("kind", FROM_256_LETTERS)
def test_a_name_of_256_units_of_any_letters_arrives_unchanged(shared: Site, kind: str) -> None:
    name = FROM_256_LETTERS[kind]
    task_id, task = shared.hand_out(name, "1")
    assert task.json["activityType"]["name"] == name
    key = f"{name}.1"
    if len(key.encode()) <= 255:
        assert task.routing_key == key
    else:
        cut, _, digest = task.routing_key.rpartition("~")
        assert key.startswith(cut)
        assert digest == hashlib.sha256(key.encode()).hexdigest()[:16]
        assert 252 <= len(task.routing_key.encode()) <= 255
    shared.worker.complete(task)
    shared.closed(task_id)


def test_a_wildcard_in_a_name_reaches_no_other_binding(shared: Site) -> None:
    star = shared.worker.queue("star", bind="one.*")
    named = shared.worker.queue("named", bind="one.two")
    task_id, task = shared.hand_out("one", "*")
    assert shared.worker.take(star).routing_key == "one.*"
    assert shared.worker.take_now(named) is None
    shared.worker.complete(task)
    shared.closed(task_id)


@pytest.mark.parametrize("kind", INPUTS)
def test_any_input_that_swf_can_deliver_arrives_unchanged(shared: Site, kind: str) -> None:
    task_id, task = shared.hand_out(input=INPUTS[kind])
    assert task.json.get("input") == INPUTS[kind]
    shared.worker.complete(task)
    shared.closed(task_id)


def test_each_task_is_persistent_and_its_queue_keeps_it(shared: Site) -> None:
    tasks = [shared.hand_out() for _ in range(3)]
    assert {task.properties.delivery_mode for _, task in tasks} == {2}
    assert len({task.headers["swf-bridge-attempt"] for _, task in tasks}) == 3
    for task_id, task in tasks:
        shared.worker.complete(task)
        shared.closed(task_id)

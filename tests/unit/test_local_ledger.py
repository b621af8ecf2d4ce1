"""What the local SWF tells of its tasks, in this process and over HTTP."""

import hashlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bridge.local import Control, ControlError, LocalClient, LocalSwf
from tests.unit.local_wire import Wire


@pytest.fixture(scope="module")
def server() -> Iterator[LocalSwf]:
    with LocalSwf(hold=0.05) as swf:
        yield swf


@pytest.fixture(params=["in process", "over http"])
def swf(request: pytest.FixtureRequest, server: LocalSwf) -> Iterator[Control]:
    server.clear()
    if request.param == "in process":
        yield server
    else:
        client = LocalClient(server.endpoint)
        yield client
        client.close()


@pytest.fixture
def wire(server: LocalSwf) -> Iterator[Wire]:
    with Wire(server.endpoint) as connection:
        yield connection


def test_the_life_of_a_task_is_kept(swf: Control, wire: Wire) -> None:
    began = time.time()
    task_id = swf.submit("a", "1", "in", workflow_id="w", activity_id="x", heartbeat=30)
    token = wire.poll(identity="me").json["taskToken"]
    wire.call("RecordActivityTaskHeartbeat", taskToken=token, details="half")
    wire.call("RespondActivityTaskFailed", taskToken=token, reason="no", details="because")
    task = swf.task(task_id, payload=True)
    times = [task["scheduledAt"], task["startedAt"], *task["heartbeats"], task["closedAt"]]
    assert times == sorted(times)
    assert began - 0.01 < times[0] < times[-1] < time.time() + 0.01
    assert (task["state"], task["identity"]) == ("failed", "me")
    assert (task["reason"], task["details"], task["heartbeatDetails"]) == (
        "no",
        "because",
        ["half"],
    )
    assert (task["input"], task["taskToken"]) == ("in", token)
    assert (task["workflowId"], task["activityId"]) == ("w", "x")
    assert task["messageId"] == hashlib.sha256(token.encode()).hexdigest()[:32]


def test_token_and_contents_are_shown_only_where_asked_for(swf: Control, wire: Wire) -> None:
    task_id = swf.submit(input="secret-input")
    token = wire.token()
    wire.call("RespondActivityTaskCompleted", taskToken=token, result="secret-result")
    task = swf.task(task_id)
    assert "secret" not in json.dumps(task)
    assert token not in json.dumps(task)
    assert (task["inputLength"], task["resultLength"]) == (12, 13)


def test_a_cancel_is_told_by_the_heartbeat_and_then_taken(swf: Control, wire: Wire) -> None:
    task_id = swf.submit()
    token = wire.token()

    def beat() -> bool:
        answer = wire.call("RecordActivityTaskHeartbeat", taskToken=token).json
        return bool(answer["cancelRequested"])

    assert beat() is False
    swf.cancel(task_id)
    assert swf.task(task_id)["cancelToldAt"] is None
    assert beat() is True
    assert swf.task(task_id)["cancelToldAt"] is not None
    answer = wire.call("RespondActivityTaskCanceled", taskToken=token, details="stopped")
    assert answer.status == 200
    assert swf.task(task_id)["state"] == "canceled"


def test_canceled_is_refused_where_nobody_asked_for_it(swf: Control, wire: Wire) -> None:
    task_id = swf.submit()
    token = wire.token()
    answer = wire.call("RespondActivityTaskCanceled", taskToken=token)
    assert answer.error == "com.amazonaws.swf.base.model#UnknownResourceFault"
    assert swf.task(task_id)["state"] == "started"
    assert wire.call("RespondActivityTaskFailed", taskToken=token).status == 200


def test_a_task_that_no_worker_has_is_canceled_at_once(swf: Control, wire: Wire) -> None:
    task_id = swf.submit()
    swf.cancel(task_id)
    assert swf.task(task_id)["state"] == "canceled"
    assert wire.poll().json["taskToken"] == ""


def test_a_task_asked_to_cancel_may_complete_all_the_same(swf: Control, wire: Wire) -> None:
    task_id = swf.submit()
    token = wire.token()
    swf.cancel(task_id)
    assert wire.call("RespondActivityTaskCompleted", taskToken=token).status == 200
    assert swf.task(task_id)["state"] == "completed"


def test_terminating_closes_all_tasks_of_the_execution(swf: Control, wire: Wire) -> None:
    one, two = swf.submit(workflow_id="w"), swf.submit(workflow_id="w")
    other = swf.submit()
    token = wire.token()
    swf.terminate(two)
    states = [swf.task(i)["state"] for i in (one, two, other)]
    assert states == ["terminated", "terminated", "scheduled"]
    answer = wire.call("RespondActivityTaskCompleted", taskToken=token)
    assert answer.json["message"].startswith("Unknown execution: WorkflowExecution=[workflowId=w,")


def test_the_most_at_once_is_the_peak_of_tasks_with_workers(swf: Control, wire: Wire) -> None:
    swf.submit_many([{"count": 3}, {"taskList": "other", "count": 2}])
    tokens = [wire.token(), wire.token()]
    for token in tokens:
        wire.call("RespondActivityTaskCompleted", taskToken=token)
    wire.token("other")
    counts = swf.counts()
    assert counts["mostAtOnce"] == 2
    assert counts["taskLists"]["demo/demo"] == {
        "scheduled": 1, "started": 0, "mostAtOnce": 2, "polls": 0,
    }  # fmt: skip
    assert counts["taskLists"]["demo/other"]["mostAtOnce"] == 1
    assert (counts["total"], counts["open"], counts["closed"]) == (5, 3, {"completed": 2})
    assert (counts["scheduled"], counts["started"]) == (2, 1)


def test_tasks_are_listed_by_state_name_list_and_age(swf: Control, wire: Wire) -> None:
    a, b = swf.submit_many([{"name": "a"}, {"name": "b", "taskList": "other"}])
    time.sleep(0.01)
    since = time.time()
    c = swf.submit("a")
    wire.token()

    def ids(**filters: object) -> list[str]:
        return [task["id"] for task in swf.tasks(**filters)]  # type: ignore[arg-type]

    assert ids() == [a, b, c]
    assert ids(state="started") == [a]
    assert ids(state="open") == [a, b, c]
    assert ids(state="closed") == []
    assert ids(name="a") == [a, c]
    assert ids(task_list="other", domain="demo") == [b]
    assert ids(since=since) == [c]
    assert ids(limit=2) == [b, c]


def test_waiting_ends_with_the_last_of_the_tasks(swf: Control, wire: Wire) -> None:
    ids = swf.submit_many([{"count": 2}])
    swf.submit(task_list="other")
    assert swf.wait_closed(ids, 0.05) is False
    tokens = [wire.token(), wire.token()]
    wire.call("RespondActivityTaskCompleted", taskToken=tokens[0])
    last = threading.Timer(
        0.1, lambda: wire.call("RespondActivityTaskCompleted", taskToken=tokens[1])
    )
    last.start()
    began = time.monotonic()
    assert swf.wait_closed(ids, 5.0) is True
    assert time.monotonic() - began < 1.0
    last.join()
    assert swf.wait_closed(ids, 0.0) is True
    assert swf.wait_closed(timeout=0.0) is False


def test_clearing_forgets_tasks_and_counts_and_nothing_else(swf: Control, wire: Wire) -> None:
    swf.submit_many([{"count": 2, "startToCloseTimeout": 60}])
    wire.token()
    swf.clear()
    assert swf.tasks() == []
    counts = swf.counts()
    assert (counts["total"], counts["open"], counts["mostAtOnce"]) == (0, 0, 0)
    assert counts["calls"] == {}
    assert wire.poll().json["taskToken"] == ""


def test_only_so_many_closed_tasks_are_remembered(swf: Control, wire: Wire) -> None:
    swf.options(keep=2)
    ids = swf.submit_many([{"workflowId": "w"}, {"count": 3}])
    for _ in ids:
        wire.call("RespondActivityTaskCompleted", taskToken=(token := wire.token()))
    swf.options(keep=1_000_000)
    assert [task["id"] for task in swf.tasks()] == ids[2:]
    counts = swf.counts()
    assert (counts["total"], counts["open"], counts["closed"]) == (4, 0, {"completed": 4})
    assert swf.wait_closed(timeout=0.0) is True
    answer = wire.call("RespondActivityTaskCompleted", taskToken=token)
    assert answer.json["message"].startswith("Unknown activity")
    assert swf.submit(workflow_id="w")  # in a new execution: the old one is forgotten
    assert len(swf.history(swf.tasks(state="open")[0]["id"])) == 2


def test_what_cannot_be_is_said_in_a_sentence(swf: Control) -> None:
    with pytest.raises(ControlError, match="no task '99'"):
        swf.task("99")
    with pytest.raises(ControlError, match="no task '98'"):
        swf.wait_closed("98")
    with pytest.raises(ControlError, match="no verb 'dance'"):
        swf.ask("dance", {})
    with pytest.raises(ControlError, match="option hold wants a float"):
        swf.options(hold="long")
    with pytest.raises(ControlError, match="option keep wants no negative number"):
        swf.options(keep=-1)
    with pytest.raises(ControlError, match="no option speed"):
        swf.options(speed=1)


def test_contents_of_any_letters_come_through_the_interface(swf: Control) -> None:
    text = "\x00\ud800\U0001f600" * 100
    assert swf.task(swf.submit(input=text), payload=True)["input"] == text


def test_reading_verbs_answer_a_browser_too(server: LocalSwf) -> None:
    server.clear()
    server.submit("a")
    server.submit("b")
    with urllib.request.urlopen(f"{server.endpoint}/local/tasks?name=b") as response:
        assert [task["name"] for task in json.load(response)["tasks"]] == ["b"]
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(f"{server.endpoint}/local/clear")


def test_options_are_read_by_a_browser_and_set_by_a_post_alone(server: LocalSwf) -> None:
    with urllib.request.urlopen(f"{server.endpoint}/local/options") as response:
        before = json.load(response)
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(f"{server.endpoint}/local/options?latency=9")
    with urllib.request.urlopen(f"{server.endpoint}/local/options") as response:
        assert json.load(response) == before


def test_of_tasks_with_one_activity_id_none_is_scheduled(server: LocalSwf) -> None:
    server.clear()
    with pytest.raises(ControlError, match="count wants 1"):
        server.submit_many([{"activityId": "one", "count": 2}])
    assert server.tasks() == []


def test_nobody_there_is_a_connection_error() -> None:
    with LocalSwf() as swf:
        client = LocalClient(swf.endpoint)
        client.counts()
    with pytest.raises(ConnectionError, match="no local SWF answers at http://127"):
        client.counts()
    with pytest.raises(RuntimeError, match="not running"):
        swf.counts()


def test_what_is_no_local_swf_is_told_so() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.handle_request, daemon=True).start()
        client = LocalClient(f"http://127.0.0.1:{other.server_port}")
        with pytest.raises(ConnectionError, match=r"is no local SWF \(HTTP 501\)"):
            client.counts()

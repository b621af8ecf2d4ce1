"""Faults on demand: what each does to a call, and which calls it strikes."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from bridge.local import ControlError, LocalSwf
from bridge.local.api.faults import KINDS
from tests.unit.local_wire import Wire

COMPLETED = "RespondActivityTaskCompleted"
SWF = "com.amazonaws.swf.base.model#"
CORAL = "com.amazon.coral."


@pytest.fixture(scope="module")
def running() -> Iterator[LocalSwf]:
    with LocalSwf(hold=0.05) as swf:
        yield swf


@pytest.fixture
def swf(running: LocalSwf) -> LocalSwf:
    running.clear()
    running.faults.clear()
    running.options(latency=0.0)
    return running


@pytest.fixture
def wire(swf: LocalSwf) -> Iterator[Wire]:
    with Wire(swf.endpoint) as connection:
        yield connection


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("throttled", 400, CORAL + "availability#ThrottlingException"),
        ("limit-exceeded", 400, SWF + "LimitExceededFault"),
        ("internal", 500, CORAL + "service#InternalFailure"),
        ("unavailable", 503, CORAL + "availability#ServiceUnavailableException"),
        ("expired-token", 400, CORAL + "service#ExpiredTokenException"),
        ("unrecognized-client", 400, CORAL + "service#UnrecognizedClientException"),
        ("access-denied", 400, CORAL + "service#AccessDeniedException"),
        ("not-permitted", 400, SWF + "OperationNotPermittedFault"),
        ("clock-skew", 400, CORAL + "service#InvalidSignatureException"),
        ("request-expired", 400, CORAL + "service#RequestExpired"),
        ("invalid-token", 400, CORAL + "validate#ValidationException"),
    ],
)
def test_a_refusal_is_written_as_the_service_writes_it_and_nothing_is_done(
    swf: LocalSwf, wire: Wire, kind: str, status: int, error: str
) -> None:
    task_id = swf.submit()
    token = wire.token()
    swf.faults.add(kind, count=1)
    answer = wire.call(COMPLETED, taskToken=token)
    assert (answer.status, answer.error) == (status, error)
    assert answer.json["message"]
    assert swf.task(task_id)["state"] == "started"
    assert wire.call(COMPLETED, taskToken=token).status == 200
    assert swf.counts()["calls"][COMPLETED] == {kind: 1, "ok": 1}


def test_any_error_can_be_had(swf: LocalSwf, wire: Wire) -> None:
    swf.faults.add("error", code="UnknownResourceFault", message="Gone", status=404)
    answer = wire.poll()
    assert (answer.status, answer.error) == (404, SWF + "UnknownResourceFault")
    assert answer.json["message"] == "Gone"


def test_an_html_page_can_come_instead_of_an_answer(swf: LocalSwf, wire: Wire) -> None:
    swf.faults.add("html")
    answer = wire.poll()
    assert (answer.status, answer.headers["content-type"]) == (502, "text/html")


def test_garbage_can_come_instead_of_an_answer(swf: LocalSwf, wire: Wire) -> None:
    task_id = swf.submit()
    swf.faults.add("garbage")
    answer = wire.poll()
    assert answer.status == 200
    with pytest.raises(ValueError, match=r"."):
        _ = answer.json
    assert swf.task(task_id)["state"] == "scheduled"


def test_a_connection_cut_before_acting_leaves_everything_as_it_was(
    swf: LocalSwf, wire: Wire
) -> None:
    task_id = swf.submit()
    swf.faults.add("cut-before")
    with pytest.raises(EOFError):
        wire.poll()
    assert swf.task(task_id)["state"] == "scheduled"


@pytest.mark.parametrize("kind", ["cut-after", "half-body"])
def test_an_answer_can_be_lost_after_the_call_was_carried_out(
    swf: LocalSwf, wire: Wire, kind: str
) -> None:
    task_id = swf.submit()
    swf.faults.add(kind, operation="PollForActivityTask")
    with pytest.raises(EOFError):
        wire.poll()
    task = swf.task(task_id)
    assert (task["state"], task["unheard"]) == ("started", kind)


def test_a_completion_whose_answer_was_lost_is_recorded_and_its_repetition_refused(
    swf: LocalSwf, wire: Wire
) -> None:
    task_id = swf.submit()
    token = wire.token()
    swf.faults.add("cut-after", count=1)
    with pytest.raises(EOFError):
        wire.call(COMPLETED, taskToken=token, result="done")
    task = swf.task(task_id, payload=True)
    assert (task["state"], task["result"], task["unheard"]) == ("completed", "done", None)
    with Wire(swf.endpoint) as again:
        answer = again.call(COMPLETED, taskToken=token, result="done")
    assert answer.error == SWF + "UnknownResourceFault"


def test_a_held_poll_can_be_cut_when_its_task_comes(swf: LocalSwf, wire: Wire) -> None:
    swf.options(hold=5.0)
    swf.faults.add("cut-after", operation="PollForActivityTask")
    wire.send_poll()
    while swf.counts()["polls"] == 0:
        time.sleep(0.001)
    task_id = swf.submit()
    swf.options(hold=0.05)
    with pytest.raises(EOFError):
        wire.receive()
    assert swf.task(task_id)["unheard"] == "cut-after"


def test_a_slow_call_is_carried_out_after_its_delay(swf: LocalSwf, wire: Wire) -> None:
    swf.faults.add("slow", delay=0.2, count=1)
    began = time.monotonic()
    assert wire.call("DescribeDomain", name="demo").status == 200
    assert 0.2 <= time.monotonic() - began < 0.4


def test_latency_delays_every_call_without_holding_others(swf: LocalSwf) -> None:
    swf.options(latency=0.1)
    began = time.monotonic()

    def call() -> None:
        with Wire(swf.endpoint) as wire:
            wire.call("DescribeDomain", name="demo")

    calls = [threading.Thread(target=call) for _ in range(20)]
    for thread in calls:
        thread.start()
    for thread in calls:
        thread.join()
    assert 0.1 <= time.monotonic() - began < 1.0, "one after the other they would take 2 s"


def test_an_empty_poll_can_come_at_once_although_a_task_is_there(swf: LocalSwf, wire: Wire) -> None:
    swf.submit()
    swf.faults.add("empty")
    assert wire.poll().json["taskToken"] == ""
    assert wire.call("DescribeDomain", name="demo").status == 200


def test_a_fault_strikes_only_what_it_names(swf: LocalSwf, wire: Wire) -> None:
    swf.submit(task_list="a")
    swf.submit(task_list="b")
    swf.faults.add("throttled", operation=COMPLETED, domain="demo", task_list="b")
    a, b = wire.token("a"), wire.token("b")
    assert wire.call(COMPLETED, taskToken=b).status == 400
    assert wire.call("RecordActivityTaskHeartbeat", taskToken=b).status == 200
    assert wire.call(COMPLETED, taskToken=a).status == 200
    swf.faults.clear()
    swf.faults.add("throttled", token=a)
    assert wire.call(COMPLETED, taskToken=b).status == 200


def test_a_fault_is_spent_after_its_count_and_tells_how_often_it_struck(
    swf: LocalSwf, wire: Wire
) -> None:
    fault = swf.faults.add("throttled", count=2)
    assert [wire.poll().status for _ in range(4)] == [400, 400, 200, 200]
    (shown,) = swf.faults.list()
    assert (shown["id"], shown["struck"]) == (fault, 2)
    swf.faults.remove(fault)
    assert swf.faults.list() == []


def test_a_fault_with_a_seed_strikes_the_same_calls_again(swf: LocalSwf, wire: Wire) -> None:
    def struck() -> list[int]:
        fault = swf.faults.add("throttled", probability=0.3, seed=7)
        statuses = [wire.call("DescribeDomain", name="demo").status for _ in range(100)]
        swf.faults.remove(fault)
        return statuses

    first = struck()
    assert 15 < Counter(first)[400] < 45
    assert struck() == first


@pytest.mark.parametrize(
    ("kind", "rule"),
    [("tornado", {}), ("slow", {"operation": "Poll"}), ("slow", {"probability": 2}),
     ("slow", {"colour": "red"})],
)  # fmt: skip
def test_a_fault_that_cannot_be_is_refused(
    swf: LocalSwf, kind: str, rule: dict[str, object]
) -> None:
    with pytest.raises(ControlError):
        swf.faults.add(kind, **rule)
    assert swf.faults.list() == []


def test_every_kind_can_be_put_in_force(swf: LocalSwf) -> None:
    for kind in KINDS:
        swf.faults.add(kind, count=0)
    assert [fault["kind"] for fault in swf.faults.list()] == list(KINDS)

"""What only the local SWF does: polls that are held."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bridge.local import LocalSwf
from tests.unit.local_wire import Wire


@pytest.fixture
def swf() -> Iterator[LocalSwf]:
    with LocalSwf(hold=5.0) as running:
        yield running


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.002)


def polls_held(swf: LocalSwf, number: int) -> Callable[[], bool]:
    return lambda: swf.counts()["polls"] == number


def test_a_held_poll_is_answered_the_moment_a_task_comes(swf: LocalSwf) -> None:
    with Wire(swf.endpoint) as wire:
        wire.send_poll(identity="me")
        until(polls_held(swf, 1))
        submitted = time.monotonic()
        task_id = swf.submit("Greeter.say", "1.0", "hello")
        task = wire.receive().json
        assert time.monotonic() - submitted < 0.1
    assert task["activityType"] == {"name": "Greeter.say", "version": "1.0"}
    assert task["input"] == "hello"
    assert swf.task(task_id)["identity"] == "me"


def test_a_poll_without_a_task_is_held_and_then_answered_with_an_empty_token() -> None:
    with LocalSwf(hold=0.2) as swf, Wire(swf.endpoint) as wire:
        began = time.monotonic()
        answer = wire.poll()
        assert 0.2 <= time.monotonic() - began < 0.5
        assert answer.json == {"startedEventId": 0, "taskToken": ""}
        assert swf.counts()["calls"]["PollForActivityTask"] == {"empty": 1}


def test_an_empty_poll_can_have_no_token_at_all() -> None:
    with LocalSwf(hold=0.0, absent_token=True) as swf, Wire(swf.endpoint) as wire:
        assert wire.poll().json == {"startedEventId": 0}


def test_a_connection_serves_call_after_call(swf: LocalSwf) -> None:
    swf.submit_many([{"count": 3}])
    with Wire(swf.endpoint) as wire:
        for _ in range(3):
            answer = wire.call("RespondActivityTaskCompleted", taskToken=wire.token(), result="x")
            assert (answer.status, answer.body) == (200, b"")
            assert "connection" not in answer.headers
    assert swf.counts()["closed"] == {"completed": 3}


def test_requests_that_come_in_pieces_or_together_are_all_answered(swf: LocalSwf) -> None:
    request = (
        b"POST / HTTP/1.1\r\nX-Amz-Target: SimpleWorkflowService.DescribeDomain\r\n"
        b'Content-Length: 15\r\n\r\n{"name":"demo"}'
    )
    with Wire(swf.endpoint) as wire:
        for piece in (request[:30], request[30:-4], request[-4:]):
            wire.socket.sendall(piece)
            time.sleep(0.01)
        assert wire.receive().status == 200
        wire.socket.sendall(request * 3)
        assert [wire.receive().status for _ in range(3)] == [200, 200, 200]


def test_a_client_that_asks_to_continue_is_told_to(swf: LocalSwf) -> None:
    with Wire(swf.endpoint) as wire:
        wire.socket.sendall(
            b"POST / HTTP/1.1\r\nX-Amz-Target: SimpleWorkflowService.DescribeDomain\r\n"
            b"Expect: 100-continue\r\nContent-Length: 15\r\n\r\n"
        )
        assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.socket.sendall(b'{"name":"demo"}')
        assert wire.receive().status == 200


def test_tasks_go_to_polls_in_order_of_priority_and_then_of_age(swf: LocalSwf) -> None:
    swf.submit("old")
    swf.submit("new")
    swf.submit("urgent", priority=5)
    with Wire(swf.endpoint) as wire:
        names = [wire.poll().json["activityType"]["name"] for _ in range(3)]
    assert names == ["urgent", "old", "new"]


def test_the_poll_that_waits_longest_gets_the_task(swf: LocalSwf) -> None:
    with Wire(swf.endpoint) as first, Wire(swf.endpoint) as second:
        first.send_poll(identity="first")
        until(polls_held(swf, 1))
        second.send_poll(identity="second")
        until(polls_held(swf, 2))
        assert swf.task(swf.submit())["identity"] == "first"
        assert swf.task(swf.submit())["identity"] == "second"


def test_a_client_that_vanished_in_its_poll_gets_no_task(swf: LocalSwf) -> None:
    with Wire(swf.endpoint) as wire:
        wire.send_poll()
        until(polls_held(swf, 1))
    task_id = swf.submit()
    until(polls_held(swf, 0))
    assert swf.task(task_id)["state"] == "scheduled"


def test_a_client_that_shut_its_side_gets_no_task_even_before_its_end_was_seen(
    swf: LocalSwf,
) -> None:
    with Wire(swf.endpoint) as wire:
        wire.send_poll()
        until(polls_held(swf, 1))
        gate = threading.Event()
        assert swf._loop is not None
        swf._loop.call_soon_threadsafe(gate.wait, 5)  # the loop sees neither end nor task yet
        wire.socket.shutdown(socket.SHUT_WR)
        threading.Timer(0.05, gate.set).start()
        task_id = swf.submit()
        assert swf.task(task_id)["state"] == "scheduled"


def test_a_client_that_vanished_can_be_given_a_task_and_the_ledger_tells(swf: LocalSwf) -> None:
    swf.options(give_to_vanished=True)
    with Wire(swf.endpoint) as wire:
        wire.send_poll(identity="gone")
        until(polls_held(swf, 1))
    task = swf.task(swf.submit())
    assert (task["state"], task["identity"], task["unheard"]) == ("started", "gone", "vanished")


def test_a_thousand_polls_wait_at_once_and_one_more_is_refused(swf: LocalSwf) -> None:
    wires = [Wire(swf.endpoint) for _ in range(1000)]
    try:
        for wire in wires:
            wire.send_poll()
        until(polls_held(swf, 1000))
        with Wire(swf.endpoint) as one_more:
            assert one_more.poll().error == "com.amazonaws.swf.base.model#LimitExceededFault"
        swf.submit_many([{"count": 1000}])
        assert len({wire.receive().json["taskToken"] for wire in wires}) == 1000
    finally:
        for wire in wires:
            wire.close()


def test_an_unknown_domain_is_refused_unless_any_will_do() -> None:
    with LocalSwf(hold=0.0) as swf, Wire(swf.endpoint) as wire:
        answer = wire.poll("nowhere")
        assert answer.status == 400
        assert answer.json == {
            "__type": "com.amazonaws.swf.base.model#UnknownResourceFault",
            "message": "Unknown domain: nowhere",
        }
        swf.options(any_domain=True)
        assert wire.poll("nowhere").status == 200


def test_a_deprecated_domain_is_polled_no_more(swf: LocalSwf) -> None:
    with Wire(swf.endpoint) as wire:
        assert wire.call("DeprecateDomain", name="demo").status == 200
        assert wire.poll().error.endswith("#UnknownResourceFault")
        assert wire.call("DeprecateDomain", name="demo").error.endswith("#DomainDeprecatedFault")


@pytest.mark.parametrize("length", [100, 600, 1024])
def test_tokens_are_as_long_as_asked_for(length: int) -> None:
    with LocalSwf(token_length=length) as swf, Wire(swf.endpoint) as wire:
        task_id = swf.submit()
        token = wire.token()
        assert len(token) == length
        assert wire.call("RespondActivityTaskCompleted", taskToken=token).status == 200
        assert swf.wait_closed(task_id, 0.0)

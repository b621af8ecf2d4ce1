"""Both ways to call SWF do the same: over the local SWF, over moto where it is right, and noise."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import BadReply, Refused, Rejected, TaskClosed, Unavailable
from bridge.local import LocalSwf
from bridge.local.api.faults import KINDS
from bridge.swf.aws import Aws
from bridge.swf.client import Swf, Way
from bridge.task import Canceled, Completed, Failed
from tests.contract.sides import TASK_LIST, MakeSwf, Side
from tests.contract.wires import Recorder, http
from tests.unit.bridge_parts import a_task

ODD_TEXTS = {
    "32,768 characters": "x" * 32_768,
    "32,768 of two bytes": "ß" * 32_768,
    "beyond the BMP": "😀" * 16_384,
    "NUL": "a\x00b",
    "lone surrogates": "\ud800 \udfff",
    "quotes and line ends": '"\\\r\n\u2028\t',
    "nothing": "",
}


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSwf]:
    with LocalSwf(hold=0.3) as running:
        yield running


@pytest.fixture
def swf(local: LocalSwf, way: Way, make_swf: MakeSwf) -> Iterator[Swf]:
    yield make_swf(way, local.endpoint)
    local.faults.clear()
    local.clear()


def polled(local: LocalSwf, swf: Swf, **options: Any) -> tuple[str, Any]:
    """A new task's id, and the task as it was polled."""
    task_id = local.submit("greet", "1", **options)
    task = swf.poll("demo", "demo")
    assert task is not None
    return task_id, task


# --- what is the same over moto and the local SWF ---


def test_a_poll_brings_a_task_with_all_its_fields(side: Side, way: Way, make_swf: MakeSwf) -> None:
    swf = make_swf(way, side.client.meta.endpoint_url)
    side.schedule("Greeter.say", "1.0", '{"to": "wörld"}', "greeting-1")
    task = swf.poll(side.domain, TASK_LIST)
    assert task is not None
    assert (task.name, task.version, task.activity_id) == ("Greeter.say", "1.0", "greeting-1")
    assert task.input == '{"to": "wörld"}'
    assert task.workflow_id
    assert task.run_id
    assert task.started_event_id > 1
    assert (task.domain, task.task_list) == (side.domain, TASK_LIST)
    assert time.time() - task.polled_at < 5


def test_a_poll_without_a_task_brings_none(side: Side, way: Way, make_swf: MakeSwf) -> None:
    swf = make_swf(way, side.client.meta.endpoint_url)
    assert swf.poll(side.domain, TASK_LIST) is None


def test_a_task_is_completed_once(side: Side, way: Way, make_swf: MakeSwf) -> None:
    swf = make_swf(way, side.client.meta.endpoint_url)
    side.schedule("complete", "1", None, "c")
    task = swf.poll(side.domain, TASK_LIST)
    assert task is not None
    assert task.input is None
    assert swf.heartbeat(task.token, "on the way") is False
    swf.respond(Completed(task.token, "out"))
    with pytest.raises(TaskClosed):
        swf.respond(Completed(task.token, "again"))
    with pytest.raises(TaskClosed):
        swf.heartbeat(task.token, None)


def test_noise_for_a_token_is_a_bad_reply(side: Side, way: Way, make_swf: MakeSwf) -> None:
    swf = make_swf(way, side.client.meta.endpoint_url)
    with pytest.raises(BadReply) as error:
        swf.respond(Failed("noise", "no", None))
    assert error.value.code == "token-invalid"
    assert not isinstance(error.value, Rejected)


def test_an_unknown_domain_is_refused(side: Side, way: Way, make_swf: MakeSwf) -> None:
    swf = make_swf(way, side.client.meta.endpoint_url)
    with pytest.raises(Refused, match="nowhere") as error:
        swf.poll("nowhere", TASK_LIST)
    assert error.value.code == "UnknownResourceFault"


# --- what the local SWF alone can show ---


def test_a_failure_carries_reason_and_details(local: LocalSwf, swf: Swf) -> None:
    task_id, task = polled(local, swf)
    swf.respond(Failed(task.token, "no", "because"))
    seen = local.task(task_id, payload=True)
    assert (seen["state"], seen["reason"], seen["details"]) == ("failed", "no", "because")


def test_a_cancel_request_is_told_and_confirmed(local: LocalSwf, swf: Swf) -> None:
    task_id, task = polled(local, swf)
    local.cancel(task_id)
    assert swf.heartbeat(task.token, None) is True
    swf.respond(Canceled(task.token, "as asked"))
    assert local.task(task_id)["state"] == "canceled"


def test_history_tells_how_a_task_was_closed(local: LocalSwf, swf: Swf) -> None:
    _, task = polled(local, swf)
    assert swf.look(task).closed is None
    swf.respond(Completed(task.token, None))
    assert swf.look(task).closed == "completed"
    assert swf.look(replace(task, workflow_id="no such")).closed == "execution unknown"


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_any_text_arrives_unchanged_in_both_directions(
    local: LocalSwf, swf: Swf, text: str
) -> None:
    task_id, task = polled(local, swf, input=text)
    assert task.input == text
    swf.respond(Completed(task.token, text))
    assert local.task(task_id, payload=True)["result"] == text


def test_a_result_beyond_the_limit_is_rejected_without_naming_token_or_result(
    local: LocalSwf, swf: Swf
) -> None:
    _, task = polled(local, swf)
    with pytest.raises(Rejected) as error:
        swf.respond(Completed(task.token, "secret" * 6_000))
    assert error.value.token == task.token
    assert "secret" not in str(error.value)
    assert task.token not in str(error.value)


# What a fault makes of a poll and of an answer. The kind `empty` is none to those who answer, and
# `cut-after` and `half-body` close the task before the answer gets lost.
POLL_FAULTS = {
    **dict.fromkeys(KINDS, Unavailable),
    **dict.fromkeys(("access-denied", "not-permitted", "invalid-token"), Refused),
}
ANSWER_FAULTS = {
    **POLL_FAULTS,
    "invalid-token": BadReply,
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("empty", "slow", "error")])
def test_every_fault_is_the_same_error_to_both_ways(local: LocalSwf, swf: Swf, kind: str) -> None:
    local.faults.add(kind, operation="PollForActivityTask")
    with pytest.raises(Unavailable) as poll_error:
        swf.poll("demo", "demo")
    assert type(poll_error.value) is POLL_FAULTS[kind], poll_error.value
    local.faults.clear()
    _, task = polled(local, swf)
    local.faults.add(kind, operation="RespondActivityTaskCompleted")
    with pytest.raises((Unavailable, BadReply, TaskClosed)) as answer_error:
        swf.respond(Completed(task.token, None))
    found = type(answer_error.value)
    # libcurl sends again what a kept connection swallowed: SWF then knows the task as closed.
    again = kind == "cut-after" and found is TaskClosed
    assert found is ANSWER_FAULTS[kind] or again, answer_error.value


@pytest.mark.parametrize("kind", ["empty", "slow"])
def test_what_only_looks_like_a_fault_is_an_empty_poll(
    local: LocalSwf, swf: Swf, kind: str
) -> None:
    local.faults.add(kind, delay=0.1)
    assert swf.poll("demo", "demo") is None


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("UnknownResourceFault", 400, TaskClosed),
        ("SomethingNew", 400, Rejected),
        ("SomethingNew", 500, Unavailable),
        ("com.amazonaws.swf#ThrottlingException:http://aws/", 400, Unavailable),
        ("com.amazonaws.swf.base.model#UnknownResourceFault", 400, TaskClosed),
        ("InvalidSignatureException", 400, Unavailable),
        ("RequestExpired", 400, Unavailable),
        ("ExpiredTokenException", 400, Unavailable),
        ("OptInRequired", 403, Refused),
        (None, 403, Unavailable),
        (None, 301, Unavailable),
        (None, 429, Unavailable),
    ],
)
def test_an_error_is_known_by_its_code_and_status(
    way: Way, make_swf: MakeSwf, code: str | None, status: int, kind: type[Exception]
) -> None:
    told = f'"__type": "{code}", ' if code else ""
    body = f'{{{told}"message": "as told"}}'.encode()
    with Recorder(lambda sent: http(body, status)) as server:
        with pytest.raises(kind, match="as told") as error:
            make_swf(way, server.url).respond(Completed("token", None))
        assert type(error.value) is kind


@pytest.mark.parametrize("status", [200, 400, 503])
@given(
    body=st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"[]", b"null", b'"text"', b"1", b"NaN", b"[" * 100_000, b"\xff\xfe{}"]),
        st.sampled_from([b'{"taskToken": 5}', b'{"taskToken": "t"}', b'{"events": 5}']),
        st.sampled_from(
            [
                b'{"taskToken": "t", "activityId": null, "startedEventId": 1}',
                b'{"taskToken": "t", "activityId": "a", "startedEventId": "x",'
                b' "workflowExecution": [], "activityType": 7}',
                b'{"events": [{}]}',
                b'{"events": [7]}',
                b'{"events": [{"eventId": "x"}]}',
                b'{"domainInfo": 5}',
                b'{"__type": 5, "message": {}}',
                b'{"__type": null}',
            ]
        ),
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_an_answer_of_noise_is_an_error_of_ours_or_nothing(
    way: Way, noisy: tuple[Recorder, dict[Way, Swf]], status: int, body: bytes
) -> None:
    server, clients = noisy
    server.answer = lambda sent: http(body, status)
    swf = clients[way]
    calls: list[Callable[[], object]] = [
        lambda: swf.poll("demo", "demo"),
        lambda: swf.heartbeat("token", None),
        lambda: swf.respond(Completed("token", None)),
        lambda: swf.look(a_task()),
    ]
    for call in calls:
        try:
            call()
        except (Unavailable, BadReply, TaskClosed):
            continue


@pytest.fixture
def noisy(way: Way, make_swf: MakeSwf) -> Iterator[tuple[Recorder, dict[Way, Swf]]]:
    with Recorder() as server:
        yield server, {way: make_swf(way, server.url)}


def test_a_success_that_is_no_json_object_does_not_count_as_one(
    way: Way, make_swf: MakeSwf
) -> None:
    with Recorder(lambda sent: http(b"<html>all is well</html>")) as server:
        swf = make_swf(way, server.url)
        with pytest.raises(Unavailable):
            swf.respond(Completed("token", None))
        with pytest.raises(Unavailable):
            swf.poll("demo", "demo")


# --- connections ---


def test_calls_go_over_a_connection_that_is_kept(way: Way, make_swf: MakeSwf) -> None:
    with Recorder() as server:
        swf = make_swf(way, server.url)
        for _ in range(5):
            swf.poll("demo", "demo")
            swf.respond(Completed("token", None))
        assert server.connections == 2


def test_a_kept_connection_that_the_server_closed_costs_nothing(
    way: Way, make_swf: MakeSwf
) -> None:
    with Recorder() as server:
        swf = make_swf(way, server.url)
        for _ in range(5):
            swf.poll("demo", "demo")
            swf.respond(Completed("token", None))
            server.hang_up()
            time.sleep(0.05)  # for the word of it to arrive
        assert len(server.sent) == 10
        assert server.connections == 10


def test_a_first_request_that_is_cut_is_not_sent_again(way: Way, make_swf: MakeSwf) -> None:
    with Recorder(lambda sent: None) as server:
        swf = make_swf(way, server.url)
        with pytest.raises(Unavailable):
            swf.poll("demo", "demo")
        with pytest.raises(Unavailable):
            swf.respond(Completed("token", None))
        assert len(server.sent) == 2


def test_a_throttled_request_is_not_sent_again(way: Way, make_swf: MakeSwf) -> None:
    with Recorder(lambda sent: http(b'{"__type": "ThrottlingException"}', 400)) as server:
        swf = make_swf(way, server.url)
        with pytest.raises(Unavailable):
            swf.poll("demo", "demo")
        assert len(server.sent) == 1


def test_half_an_answer_is_none(way: Way, make_swf: MakeSwf) -> None:
    half = b'HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"taskToken": "t"}'
    with Recorder(lambda sent: half) as server:
        swf = make_swf(way, server.url, read_timeout=1.0)
        threading.Timer(0.3, server.hang_up).start()
        with pytest.raises(Unavailable):
            swf.poll("demo", "demo")


def test_nobody_at_the_endpoint_is_unavailable(way: Way, make_swf: MakeSwf) -> None:
    with Recorder() as server:
        url = server.url
    swf = make_swf(way, url)
    for call in (lambda: swf.poll("demo", "demo"), lambda: swf.heartbeat("token", None)):
        with pytest.raises(Unavailable):
            call()


def test_a_poll_held_beyond_the_time_out_is_given_up(way: Way, make_swf: MakeSwf) -> None:
    with LocalSwf(hold=30) as local:
        swf = make_swf(way, local.endpoint, read_timeout=0.5, aws=Aws(connect_timeout=0.5))
        started = time.monotonic()
        with pytest.raises(Unavailable):
            swf.poll("demo", "demo")
        assert 0.4 < time.monotonic() - started < 3


def test_many_threads_answer_each_its_own_task(local: LocalSwf, swf: Swf) -> None:
    ids = local.submit_many([{"name": "n", "version": "1", "input": "x", "count": 300}])

    def work() -> int:
        done = 0
        while task := swf.poll("demo", "demo"):
            swf.respond(Completed(task.token, task.activity_id))
            done += 1
        return done

    with ThreadPoolExecutor(16) as threads:
        assert sum(f.result() for f in [threads.submit(work) for _ in range(16)]) == 300
    for task_id in ids[::50]:
        seen = local.task(task_id, payload=True)
        assert seen["result"] == seen["activityId"]


def test_each_call_is_observed_with_its_outcome(
    local: LocalSwf, way: Way, make_swf: MakeSwf
) -> None:
    seen: list[tuple[str, str]] = []
    swf = make_swf(way, local.endpoint, observe=lambda name, code, _: seen.append((name, code)))
    swf.poll("demo", "demo")
    with pytest.raises(Refused):
        swf.poll("nowhere", "demo")
    with pytest.raises(BadReply):
        swf.heartbeat("noise", None)
    assert [name for name, _ in seen] == ["PollForActivityTask"] * 2 + [
        "RecordActivityTaskHeartbeat"
    ]
    assert seen[0][1] == "ok"
    assert seen[2][1] == "ValidationException"

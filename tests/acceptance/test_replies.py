"""Contract §3: every row of what may come back from a worker, and what becomes of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.harness import MARK, Site
from tests.worker import DEAD, Taken

TOKEN_LIMIT = 1024


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """Every dead letter was looked at, and every fault is over."""
    yield shared
    shared.swf.faults.clear()
    left = [taken.headers for taken in shared.worker.take_all(DEAD)]
    assert not left, "dead letters that the test did not expect"


def assert_good_replies_go_on(site: Site) -> None:
    task_id, task = site.hand_out()
    site.worker.complete(task)
    assert site.closed(task_id)["state"] == "completed"


# --- what a worker may say ---


def test_failed_closes_the_task_with_its_reason_and_details(site: Site) -> None:
    task_id, task = site.hand_out()
    site.worker.reply(task, "failed", reason="no disk", details=f"{MARK} /dev/sda1")
    closed = site.closed(task_id)
    assert closed["state"] == "failed"
    assert (closed["reason"], closed["details"]) == ("no disk", f"{MARK} /dev/sda1")


def test_completed_needs_no_result(site: Site) -> None:
    task_id, task = site.hand_out()
    site.worker.reply(task, "completed", result=None)
    assert site.closed(task_id)["result"] is None


def test_canceled_closes_a_task_whose_cancellation_was_requested(site: Site) -> None:
    task_id, task = site.hand_out()
    site.swf.cancel(task_id)
    site.worker.reply(task, "canceled", details="half done")
    closed = site.closed(task_id)
    assert (closed["state"], closed["details"]) == ("canceled", "half done")


@pytest.mark.parametrize(
    "fault", ["UnknownResourceFault", "OperationNotPermittedFault", "ValidationException"]
)
def test_canceled_without_a_request_fails_the_task(site: Site, fault: str) -> None:
    site.swf.options(canceled_fault=fault)
    task_id, task = site.hand_out()
    site.worker.reply(task, "canceled", details="why not")
    closed = site.closed(task_id)
    site.swf.options(canceled_fault="UnknownResourceFault")
    assert closed["state"] == "failed"
    assert (closed["reason"], closed["details"]) == ("canceled without request", "why not")


def test_token_and_status_may_stand_in_headers_with_no_body(site: Site) -> None:
    task_id, task = site.hand_out()
    token = task.json["taskToken"]
    site.worker.send(b"", headers={"swf-task-token": token, "swf-status": "completed"})
    assert site.closed(task_id)["state"] == "completed"


def test_the_body_wins_over_headers_and_null_counts_as_absent(site: Site) -> None:
    task_id, task = site.hand_out()
    token = task.json["taskToken"]
    site.worker.send(
        {"status": "failed", "taskToken": None, "reason": None},
        headers={"swf-task-token": token, "swf-status": "completed"},
    )
    closed = site.closed(task_id)
    assert (closed["state"], closed["reason"]) == ("failed", None)


@pytest.mark.parametrize(
    ("value", "text"),
    [({"a": [1, 2]}, '{"a":[1,2]}'), (17, "17"), (False, "false"), (["é"], '["é"]'), ("", "")],
)
def test_a_result_that_is_no_string_is_sent_as_compact_json(
    site: Site, value: object, text: str
) -> None:
    task_id, task = site.hand_out()
    site.worker.reply(task, "completed", result=value, unknown="is ignored")
    assert site.closed(task_id)["result"] == text


def test_a_byte_order_mark_and_no_content_type_do_no_harm(site: Site) -> None:
    task_id, task = site.hand_out()
    body = json.dumps({"taskToken": task.json["taskToken"], "status": "completed"})
    site.worker.send(b"\xef\xbb\xbf" + body.encode())
    assert site.closed(task_id)["state"] == "completed"


@pytest.mark.parametrize("unit", ["x", "é", "𝒜"])
def test_what_is_too_long_is_cut_to_swfs_limit_in_units_of_utf16(site: Site, unit: str) -> None:
    beating, failing = site.hand_out(), site.hand_out()
    site.worker.reply(beating[1], "heartbeat", details=unit * 3000)
    assert site.worker.until(lambda: bool(site.swf.task(beating[0])["heartbeats"]))
    site.worker.complete(beating[1])
    (beat,) = site.closed(beating[0])["heartbeatDetails"]
    site.worker.reply(failing[1], "failed", reason=unit * 300, details=unit * 40000)
    failed = site.closed(failing[0])
    for text, limit in ((failed["reason"], 256), (failed["details"], 32768), (beat, 2048)):
        units = len(text.encode("utf-16-le")) // 2
        assert text == unit * (text.count(unit)) + "…"
        assert limit - 1 <= units <= limit


def test_results_of_the_full_length_are_taken(site: Site) -> None:
    task_id, task = site.hand_out()
    site.worker.complete(task, "𝒜" * 16384)
    assert site.closed(task_id)["result"] == "𝒜" * 16384


# --- what can never be accepted ---

BAD: dict[str, tuple[bytes, str]] = {
    "not UTF-8": (b'{"status": "\xff"}', "not-utf8"),
    "not JSON": (b"completed", "not-json"),
    "half of JSON": (b'{"taskToken": "', "not-json"),
    "NaN": (b'{"taskToken": "TOKEN", "status": "completed", "result": NaN}', "not-json"),
    "minus infinity": (b'{"taskToken": "TOKEN", "status": "failed", "x": -Infinity}', "not-json"),
    "an overflow": (
        b'{"taskToken": "TOKEN", "status": "completed", "result": [1e999]}',
        "not-json",
    ),
    "a huge number": (b'{"taskToken": "TOKEN", "x": ' + b"1" * 5000 + b"}", "not-json"),
    "an array": (b"[]", "not-an-object"),
    "a string": (b'"completed"', "not-an-object"),
    "null": (b"null", "not-an-object"),
    "nested past reason": (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too-deep"),
    "no token": (b'{"status": "completed"}', "token-missing"),
    "nothing at all": (b"", "token-missing"),
    "a null token": (b'{"taskToken": null, "status": "completed"}', "token-missing"),
    "a number for a token": (b'{"taskToken": 7, "status": "completed"}', "token-invalid"),
    "an empty token": (b'{"taskToken": "", "status": "completed"}', "token-invalid"),
    "a token too long": (
        json.dumps({"taskToken": "x" * (TOKEN_LIMIT + 1), "status": "completed"}).encode(),
        "token-invalid",
    ),
    "a token that SWF calls invalid": (
        b'{"taskToken": "nonsense", "status": "completed"}',
        "token-invalid",
    ),
    "a token of half a character": (
        b'{"taskToken": "\\ud800", "status": "heartbeat"}',
        "token-invalid",
    ),
    "no status": (b'{"taskToken": "TOKEN"}', "status-missing"),
    "an unknown status": (b'{"taskToken": "TOKEN", "status": "done"}', "status-unknown"),
    "a list for a status": (b'{"taskToken": "TOKEN", "status": ["completed"]}', "status-unknown"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_reply_is_parked_with_its_reason(site: Site, kind: str) -> None:
    body, code = BAD[kind]
    task_id, task = site.hand_out()
    body = body.replace(b"TOKEN", task.json["taskToken"].encode())
    site.worker.send(body, message_id=kind)
    dead = site.worker.take(DEAD)
    assert dead.body == body
    assert dead.headers["swf-bridge-error"] == code
    assert dead.headers["swf-bridge-error-detail"]
    assert dead.properties.message_id == kind
    assert site.swf.task(task_id)["state"] == "started"
    site.worker.complete(task)
    assert site.closed(task_id)["state"] == "completed"


def test_bad_replies_of_every_kind_delay_no_good_one(site: Site) -> None:
    good = [site.hand_out() for _ in range(10)]
    for _, task in good:
        for body, _ in BAD.values():
            site.worker.send(body)
        site.worker.complete(task)
    assert site.swf.wait_closed([task_id for task_id, _ in good], 20)
    dead = site.worker.take_many(10 * len(BAD), DEAD)
    assert {each.headers["swf-bridge-error"] for each in dead} == {c for _, c in BAD.values()}


def test_a_result_over_the_limit_fails_the_task_and_is_parked(site: Site) -> None:
    task_id, task = site.hand_out()
    site.worker.complete(task, "x" * 32769)
    closed = site.closed(task_id)
    assert closed["state"] == "failed"
    assert "32769" in closed["reason"]
    assert "32768" in closed["reason"]
    dead = site.worker.take(DEAD)
    assert dead.headers["swf-bridge-error"] == "result-too-large"
    assert dead.json["result"] == "x" * 32769


def test_any_other_refusal_that_no_retry_heals_fails_the_task_and_is_parked(site: Site) -> None:
    site.swf.faults.add(
        "error",
        operation="RespondActivityTaskCompleted",
        code="ValidationException",
        message="1 validation error detected: Value 'x' at 'result' failed to satisfy constraint",
        count=1,
    )
    task_id, task = site.hand_out()
    site.worker.complete(task, MARK)
    closed = site.closed(task_id)
    assert closed["state"] == "failed"
    assert "refused" in closed["reason"]
    assert site.worker.take(DEAD).headers["swf-bridge-error"] == "refused-by-swf"


# --- what a dead letter keeps ---


def test_a_dead_letter_keeps_everything_but_what_would_do_harm(site: Site) -> None:
    kept: dict[str, Any] = {
        "text": "é",
        "number": -3,
        "large": 2**40,
        "flag": True,
        "nothing": None,
        "bytes": b"\x00\xff",
        "list": ["a", 1, {"b": 2}],
        "table": {"deep": {"deeper": "x"}},
        "x-mine": "stays",
    }
    dropped = {
        "CC": ["elsewhere"],
        "BCC": ["elsewhere"],
        "x-death": [{"queue": "before"}],
        "x-first-death-queue": "before",
        "x-last-death-reason": "rejected",
    }
    site.worker.send(
        b"\xff\x00 no JSON",
        headers={**kept, **dropped},
        user_id="guest",
        expiration="60000",
        content_type="text/odd",
        content_encoding="gzip",
        priority=7,
        correlation_id="c",
        reply_to="somewhere",
        message_id="m",
        timestamp=1_700_000_000_000,
        type="t",
        app_id="a",
        cluster_id="k",
    )
    dead = site.worker.take(DEAD)
    assert dead.body == b"\xff\x00 no JSON"
    ours = {name for name in dead.headers if name.startswith("swf-bridge-")}
    assert {"swf-bridge-error", "swf-bridge-error-detail"} <= ours
    ours.add("x-delivery-count")  # which the queue adds for whoever takes the message
    assert {k: v for k, v in dead.headers.items() if k not in ours} == kept
    properties = dead.properties
    assert (properties.user_id, properties.expiration) == (None, None)
    assert properties.delivery_mode == 2
    assert properties.content_type == "text/odd"
    assert properties.content_encoding == "gzip"
    assert properties.priority == 7
    assert properties.correlation_id == "c"
    assert properties.reply_to == "somewhere"
    assert properties.timestamp == 1_700_000_000_000
    assert (properties.message_id, properties.type) == ("m", "t")
    assert (properties.app_id, properties.cluster_id) == ("a", "k")


def test_headers_over_64_kib_are_left_out_of_a_dead_letter_and_named(site: Site) -> None:
    site.worker.send(b"x", headers={"small": "s", "large": "l" * 50_000, "larger": "m" * 60_000})
    dead = site.worker.take(DEAD)
    assert "larger" in dead.headers["swf-bridge-error-detail"]
    assert "larger" not in dead.headers
    assert (dead.headers["small"], dead.headers["large"]) == ("s", "l" * 50_000)


# --- replies to a task that is closed ---


def test_a_second_reply_is_a_duplicate(site: Site) -> None:
    task_id, task = site.hand_out()
    site.worker.complete(task, "first")
    site.closed(task_id)
    site.worker.complete(task, "second")
    site.bridge.wait("reply.duplicate", task=task.properties.message_id, level="info")
    assert site.closed(task_id)["result"] == "first"


def test_a_reply_to_a_task_that_timed_out_is_late_and_its_age_is_told(site: Site) -> None:
    task_id, task = site.hand_out(start_to_close=0.1)
    assert site.closed(task_id)["state"] == "timed-out"
    site.worker.complete(task)
    late = site.bridge.wait("reply.late", task=task.properties.message_id, level="warning")
    assert 0.0 <= late["age"] < 10
    assert_good_replies_go_on(site)


# --- what SWF cannot take now ---

FOR_NOW = [
    "throttled",
    "internal",
    "unavailable",
    "expired-token",
    "unrecognized-client",
    "clock-skew",
    "cut-before",
    "html",
    "garbage",
]


@pytest.mark.parametrize("kind", FOR_NOW)
def test_a_reply_that_swf_cannot_take_now_is_tried_again(site: Site, kind: str) -> None:
    held_id, held = site.hand_out()
    site.swf.faults.add(kind, token=held.json["taskToken"], count=2)
    site.worker.complete(held, "at last")
    assert_good_replies_go_on(site)
    assert site.closed(held_id)["result"] == "at last"


@pytest.mark.parametrize("kind", ["access-denied", "not-permitted"])
def test_a_reply_that_is_not_permitted_is_kept_while_others_go_on(site: Site, kind: str) -> None:
    held_id, held = site.hand_out()
    fault = site.swf.faults.add(kind, token=held.json["taskToken"])
    site.worker.complete(held, "kept")
    site.bridge.wait("reply.later")
    for _ in range(3):
        assert_good_replies_go_on(site)
    assert site.swf.task(held_id)["state"] == "started"
    site.swf.faults.remove(fault)
    assert site.closed(held_id)["result"] == "kept"


def test_an_answer_that_got_lost_on_its_way_is_a_duplicate_when_asked_again(site: Site) -> None:
    task_id, task = site.hand_out()
    site.swf.faults.add("cut-after", token=task.json["taskToken"], count=1)
    site.worker.complete(task, "once")
    assert site.closed(task_id)["result"] == "once"
    assert site.worker.until(lambda: site.worker.ready("swf.replies") == 0)
    assert_good_replies_go_on(site)


def test_more_held_replies_than_threads_and_half_the_prefetch_delay_no_other(site: Site) -> None:
    held = [site.hand_out() for _ in range(60)]
    for _, task in held:
        site.swf.faults.add("throttled", token=task.json["taskToken"])
        site.worker.complete(task)
    for _ in range(5):
        assert_good_replies_go_on(site)
    site.swf.faults.clear()
    assert site.swf.wait_closed([task_id for task_id, _ in held], 30)


# --- heartbeats and cancellation ---


def beat(site: Site, task: Taken, reply_to: str, **properties: Any) -> None:
    body = {"taskToken": task.json["taskToken"], "status": "heartbeat", "details": MARK}
    site.worker.send(body, reply_to=reply_to, correlation_id="beat-1", **properties)


def test_a_heartbeat_is_answered_on_the_queue_it_names(site: Site) -> None:
    answers = site.worker.queue("answers", bind=None)
    task_id, task = site.hand_out()
    beat(site, task, answers)
    answer = site.worker.take(answers)
    token = task.json["taskToken"]
    assert answer.json == {"taskToken": token, "open": True, "cancelRequested": False}
    assert answer.properties.correlation_id == "beat-1"
    site.worker.complete(task)
    assert site.closed(task_id)["heartbeatDetails"] == [MARK]


def test_a_heartbeat_is_answered_by_direct_reply_to(site: Site) -> None:
    _, task = site.hand_out()
    channel = site.worker.channel
    answers: list[bytes] = []
    tag = channel.basic_consume(
        "amq.rabbitmq.reply-to", lambda *given: answers.append(given[3]), auto_ack=True
    )
    beat(site, task, "amq.rabbitmq.reply-to")
    assert site.worker.until(lambda: bool(answers))
    channel.basic_cancel(tag)
    assert json.loads(answers[0])["open"] is True
    site.worker.complete(task)


def test_a_heartbeat_for_a_task_that_is_closed_is_answered_as_not_open(site: Site) -> None:
    answers = site.worker.queue("answers", bind=None)
    task_id, task = site.hand_out()
    site.worker.complete(task)
    site.closed(task_id)
    beat(site, task, answers)
    assert site.worker.take(answers).json["open"] is False


@pytest.mark.parametrize("queue", ["swf.replies", "swf.replies.dead", "swf.undeliverable"])
def test_a_heartbeat_is_never_answered_to_a_queue_that_the_bridge_declares(
    site: Site, queue: str
) -> None:
    task_id, task = site.hand_out()
    beat(site, task, queue)
    site.bridge.wait("heartbeat.not_answered", queue=queue)
    site.worker.complete(task)
    assert len(site.closed(task_id)["heartbeats"]) == 1
    assert site.worker.ready("swf.undeliverable") == 0


def test_a_heartbeat_that_names_a_queue_that_is_not_there_does_no_harm(site: Site) -> None:
    task_id, task = site.hand_out()
    beat(site, task, "nowhere")
    site.worker.complete(task)
    assert site.closed(task_id)["state"] == "completed"


def test_a_heartbeat_for_an_unknown_direct_reply_to_does_no_harm(site: Site) -> None:
    task_id, task = site.hand_out()
    beat(site, task, "amq.rabbitmq.reply-to.nonsense.nonsense")
    site.worker.complete(task)
    assert site.closed(task_id)["state"] == "completed"
    assert_good_replies_go_on(site)


def test_a_request_to_cancel_is_told_once_under_the_tasks_routing_key(site: Site) -> None:
    notices = site.worker.queue("notices", bind="render.*", exchange="swf.cancellations")
    answers = site.worker.queue("answers", bind=None)
    task_id, task = site.hand_out("render", "3")
    site.swf.cancel(task_id)
    for _ in range(3):
        beat(site, task, answers)
    for _ in range(3):
        assert site.worker.take(answers).json["cancelRequested"] is True
    notice = site.worker.take(notices)
    assert notice.json == {"taskToken": task.json["taskToken"], "cancelRequested": True}
    assert notice.routing_key == "render.3"
    site.worker.reply(task, "canceled")
    assert site.closed(task_id)["state"] == "canceled"
    assert site.worker.take_now(notices) is None

"""The wire contract: what each row of contract §§2 and 3 says, and what any bytes come to."""

import json
import threading
import time
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.errors import BadReply, Rejected
from bridge.flow.settling.peers import decode_notice, notice
from bridge.message.message import (
    UNDECODABLE_HEADERS,
    Message,
    cancellation,
    decode_task,
    encode_task,
    expiration,
    heartbeat_answer,
    task_message,
)
from bridge.message.replies import DEAD_LETTER_CODES, decode_reply
from bridge.message.undeliverable import deadline_of, decode_undeliverable, is_expired
from bridge.rabbitmq.amqp import to_pika
from bridge.rabbitmq.consuming.copies import HEADERS_LIMIT, dead_letter, to_the_tail
from bridge.task import Canceled, Completed, Failed, Heartbeat, Reply
from tests.unit.bridge_parts import a_task

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
PAIR = "\U0001f600"
HALF = "\ud83d"
BY_HEADERS = {"swf-task-token": "token-h", "swf-status": "completed"}


def reply(headers=None, **fields):
    return decode_reply(json.dumps(fields).encode(), headers or {})


def refusal(body, headers=None):
    with pytest.raises(BadReply) as caught:
        decode_reply(body, headers or {})
    assert caught.value.code in DEAD_LETTER_CODES
    return caught.value.code


# --- bridge → worker ---------------------------------------------------------------------------


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.none() | ANY_TEXT, st.integers(0, 2**53), st.floats(0, 4e9))
@example("t", "n", "1", HALF + "\0" + PAIR + "\x7f\u2028", 1, 0.5)
@example("t", "n", "1", HALF * 32768, 1, 0.5)
@example("t", "n", "1", "", 1, 0.5)
def test_any_task_comes_back_unchanged_from_a_body_that_is_ascii(
    token, name, version, given_input, event, polled_at
):
    task = a_task(
        token,
        name=name,
        version=version,
        input=given_input,
        started_event_id=event,
        polled_at=polled_at,
    )
    body = encode_task(task)
    assert body.isascii()
    assert decode_task(body, polled_at) == task


def test_a_body_has_the_fields_of_swf_under_swfs_names():
    assert json.loads(encode_task(a_task())) == {
        "taskToken": "token-1",
        "activityId": "activity-1",
        "startedEventId": 6,
        "workflowExecution": {"workflowId": "workflow-1", "runId": "run-1"},
        "activityType": {"name": "Greeter.say", "version": "1.0"},
        "domain": "demo",
        "taskList": "list",
        "input": "hello",
    }
    assert "input" not in json.loads(encode_task(a_task(input=None)))


def task_message_of(task):
    return task_message(
        task, encode_task(task), exchange="x", routing_key="k", reply_to="swf.replies"
    )


def test_a_task_message_has_every_property_that_a_worker_may_rely_on():
    task = a_task(polled_at=1700000000.9)
    message = task_message_of(task)
    assert (message.exchange, message.routing_key, message.mandatory) == ("x", "k", True)
    assert message.body == encode_task(task)
    assert message.properties == {
        "content_type": "application/json",
        "delivery_mode": 2,
        "type": "swf.activity-task.v1",
        "app_id": "swf-bridge",
        "message_id": task.id,
        "correlation_id": task.id,
        "reply_to": "swf.replies",
        "timestamp": 1700000000,
        "headers": {
            "swf-task-token": "token-1",
            "swf-domain": "demo",
            "swf-task-list": "list",
            "swf-activity-id": "activity-1",
            "swf-workflow-id": "workflow-1",
            "swf-run-id": "run-1",
        },
    }


def test_half_a_surrogate_pair_becomes_a_replacement_character_in_a_header_and_stays_in_the_body():
    message = task_message_of(a_task(activity_id=f"a{HALF}b{PAIR}"))
    assert message.properties["headers"]["swf-activity-id"] == f"a\ufffdb{PAIR}"
    assert json.loads(message.body)["activityId"] == f"a{HALF}b{PAIR}"


def test_headers_are_added_to_those_of_a_message():
    message = task_message_of(a_task()).with_headers({"sentry-trace": "1"})
    assert message.properties["headers"]["sentry-trace"] == "1"
    assert message.properties["headers"]["swf-domain"] == "demo"


def test_the_answer_to_a_heartbeat_goes_where_it_was_asked_for():
    message = heartbeat_answer("token-1", "inbox", "c-7", is_open=True, cancel_requested=False)
    assert (message.exchange, message.routing_key, message.mandatory) == ("", "inbox", False)
    assert message.properties["correlation_id"] == "c-7"
    fields = {"taskToken": "token-1", "open": True, "cancelRequested": False}
    assert json.loads(message.body) == fields


@given(ANY_TEXT)
def test_any_token_can_be_answered(token):
    answer = heartbeat_answer(token, "inbox", None, is_open=False, cancel_requested=False)
    word = cancellation(token, "id-1", exchange="x", routing_key="k")
    assert json.loads(answer.body)["taskToken"] == json.loads(word.body)["taskToken"] == token


def test_a_cancellation_names_the_task_in_body_and_header():
    message = cancellation("token-1", "id-1", exchange="swf.cancellations", routing_key="k")
    assert (message.exchange, message.routing_key) == ("swf.cancellations", "k")
    assert json.loads(message.body) == {"taskToken": "token-1", "cancelRequested": True}
    assert message.properties["headers"] == {"swf-task-token": "token-1"}
    assert message.properties["correlation_id"] == "id-1"


# --- worker → bridge: the status ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        ("completed", {"result": "r"}, Completed("t", "r")),
        ("completed", {}, Completed("t", None)),
        ("failed", {"reason": "r", "details": "d"}, Failed("t", "r", "d")),
        ("failed", {}, Failed("t", None, None)),
        ("canceled", {"details": "d"}, Canceled("t", "d")),
        ("heartbeat", {"details": "d"}, Heartbeat("t", "d")),
    ],
)
def test_a_status_says_which_call_is_made(status, fields, expected):
    assert reply(taskToken="t", status=status, **fields) == expected


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'),
        (7, "7"),
        (True, "true"),
        ("", ""),
        ([], "[]"),
        (None, None),
        (HALF, HALF),
    ],
)
def test_a_value_that_is_no_string_is_sent_as_compact_json(value, sent):
    assert reply(taskToken="t", status="completed", result=value) == Completed("t", sent)
    failed = reply(taskToken="t", status="failed", reason=value, details=value)
    assert failed == Failed("t", sent, sent)


@pytest.mark.parametrize("value", ["x", 1e999, [1e999], None, {"deep": [[[]]]}])
def test_fields_that_a_status_does_not_have_are_ignored(value):
    body = json.dumps({"taskToken": "t", "status": "completed", "details": value, "more": value})
    assert decode_reply(body.replace("Infinity", "1e999").encode(), {}) == Completed("t", None)


# --- worker → bridge: body and headers ---------------------------------------------------------


def test_the_body_goes_before_the_headers():
    found = reply(BY_HEADERS, taskToken="token-b", status="failed")
    assert found == Failed("token-b")


def test_what_the_body_leaves_out_or_null_comes_from_the_headers():
    assert reply(BY_HEADERS, taskToken=None, status=None, result="r") == Completed("token-h", "r")
    assert reply(BY_HEADERS, status="failed") == Failed("token-h")
    assert reply(BY_HEADERS, taskToken="token-b") == Completed("token-b")


def test_with_both_in_the_headers_the_body_may_be_empty():
    assert decode_reply(b"", BY_HEADERS) == Completed("token-h", None)
    assert decode_reply(b"{}", BY_HEADERS) == Completed("token-h", None)


def test_a_good_body_is_accepted_whatever_its_headers_are():
    found = reply({UNDECODABLE_HEADERS: "ValueError"}, taskToken="t", status="completed")
    assert found == Completed("t")
    assert reply({b"\xff": 1, "x": datetime.now(UTC)}, taskToken="t", status="failed")


def test_of_a_name_that_stands_twice_the_last_counts():
    assert decode_reply(b'{"taskToken":"a","taskToken":"b","status":"failed"}', {}) == Failed("b")


def test_a_byte_order_mark_is_passed_over():
    assert decode_reply(b'\xef\xbb\xbf{"status":"failed"}', BY_HEADERS) == Failed("token-h")


# --- worker → bridge: the dead-letter queue ----------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xff\xfe", "not-utf8"),
        (b'{"taskToken":"\xed\xa0\x80"}', "not-utf8"),
        (b"{", "not-json"),
        (b" ", "not-json"),
        (b"{}{}", "not-json"),
        (b"{'a':1}", "not-json"),
        (b'{"result":NaN}', "not-json"),
        (b'{"result":-Infinity}', "not-json"),
        (b'{"result":1e999}', "not-json"),
        (b'{"result":[[-1e999]]}', "not-json"),
        (b"[]", "not-an-object"),
        (b"null", "not-an-object"),
        (b'"completed"', "not-an-object"),
        (b"1", "not-an-object"),
        (b"[" * 100_000, "too-deep"),
        (b'{"result":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "too-deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too-deep"),
    ],
)
def test_what_is_no_json_object_has_a_code_of_its_own(body, code):
    assert refusal(body, BY_HEADERS) == code


LARGE = "x" * 1024 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":"completed","result":[' + b"{}," * 400_000 + b"1]}",
        b'{"status":"completed","result":[' + b"{}," * 40_000 + b"1]}",
        b"[" + b"{}," * 40_000 + b"1]",
        b"\xff" * 2_000_000,
    ],
)
def test_a_reply_over_the_bound_is_not_read(body):
    assert refusal(body) == "too-large"


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"taskToken": "t", "status": "completed", "result": LARGE}, {}),
        ({"result": LARGE, "status": "failed", "taskToken": "t"}, {}),
        ({"result": [1] * 70_000}, {"swf-task-token": "t", "swf-status": "canceled"}),
        ({"status": "completed", "result": LARGE}, {"swf-task-token": "t"}),
    ],
)
def test_a_reply_over_the_bound_fails_the_task_that_it_shows(fields, headers):
    with pytest.raises(Rejected) as caught:
        decode_reply(json.dumps(fields).encode(), headers)
    assert (caught.value.code, caught.value.token) == ("too-large", "t")
    assert "bytes" in caught.value.reason or "values" in caught.value.reason


@pytest.mark.parametrize(
    "fields",
    [
        {"taskToken": "t", "status": "heartbeat", "details": LARGE},
        {"taskToken": "t", "status": "done", "details": LARGE},
        {"taskToken": "t" * 1025, "status": "completed", "result": LARGE},
        {"status": "completed", "result": LARGE},
    ],
)
def test_a_reply_over_the_bound_that_closes_no_task_fails_none(fields):
    with pytest.raises(BadReply) as caught:
        decode_reply(json.dumps(fields).encode(), {})
    assert caught.value.code == "too-large"
    assert not isinstance(caught.value, Rejected)


def test_text_of_a_reply_may_hold_any_number_of_commas_and_brackets():
    details = "a,[b],{c}\n" * 20_000
    found = reply(taskToken="t", status="failed", details=details)
    assert found == Failed("t", None, details[:32_767] + "…")


def test_a_reply_with_all_that_swf_takes_is_read_however_it_is_escaped():
    body = json.dumps({"taskToken": "t", "status": "completed", "result": "\N{EURO SIGN}" * 32_768})
    assert len(decode_reply(body.encode(), {}).result) == 32_768


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"status": "completed"}, "token-missing"),
        ({"status": "completed", "taskToken": None}, "token-missing"),
        ({"status": "completed", "taskToken": ""}, "token-invalid"),
        ({"status": "completed", "taskToken": 7}, "token-invalid"),
        ({"status": "completed", "taskToken": ["t"]}, "token-invalid"),
        ({"taskToken": "t"}, "status-missing"),
        ({"taskToken": "t", "status": None}, "status-missing"),
        ({"taskToken": "t", "status": "Completed"}, "status-unknown"),
        ({"taskToken": "t", "status": ""}, "status-unknown"),
        ({"taskToken": "t", "status": 1}, "status-unknown"),
        ({"taskToken": "t", "status": {"completed": 1}}, "status-unknown"),
    ],
)
def test_a_token_or_status_that_cannot_be_has_a_code_of_its_own(fields, code):
    assert refusal(json.dumps(fields).encode()) == code


def test_a_token_in_the_headers_that_is_no_string_is_invalid():
    assert refusal(b"", {**BY_HEADERS, "swf-task-token": b"\xff"}) == "token-invalid"
    assert refusal(b"", {**BY_HEADERS, "swf-status": 7}) == "status-unknown"


# --- worker → bridge: limits, in UTF-16 code units ---------------------------------------------


@pytest.mark.parametrize(("letter", "units"), [("x", 1), ("\u20ac", 1), (HALF, 1), (PAIR, 2)])
def test_a_token_has_1024_characters_at_most(letter, units):
    token = letter * (1024 // units)
    assert reply(taskToken=token, status="failed").token == token
    body = json.dumps({"taskToken": token + "x", "status": "failed"}).encode()
    assert refusal(body) == "token-invalid"


@pytest.mark.parametrize(("letter", "units"), [("x", 1), ("\u20ac", 1), (HALF, 1), (PAIR, 2)])
def test_a_result_over_its_limit_fails_the_task_with_size_and_limit(letter, units):
    result = letter * (32768 // units)
    assert reply(taskToken="t", status="completed", result=result) == Completed("t", result)
    with pytest.raises(Rejected) as caught:
        reply(taskToken="t", status="completed", result=result + "x")
    assert caught.value.code == "result-too-large"
    assert caught.value.token == "t"
    assert "32769" in caught.value.reason
    assert "32768" in caught.value.reason


@pytest.mark.parametrize(
    ("status", "field", "limit"),
    [
        ("failed", "reason", 256),
        ("failed", "details", 32768),
        ("canceled", "details", 32768),
        ("heartbeat", "details", 2048),
    ],
)
def test_a_reason_or_details_over_the_limit_are_cut_and_end_in_an_ellipsis(status, field, limit):
    def sent(text):
        return getattr(reply(taskToken="t", status=status, **{field: text}), field)

    assert sent("x" * limit) == "x" * limit
    assert sent("x" * (limit + 1)) == "x" * (limit - 1) + "…"
    assert sent(PAIR * (limit // 2)) == PAIR * (limit // 2)
    assert sent(PAIR * (limit // 2) + "x") == PAIR * (limit // 2 - 1) + "…"
    assert sent(["x" * limit]) == '["' + "x" * (limit - 3) + "…"


# --- worker → bridge: anything at all ----------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=4,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "taskToken": ANY_TEXT | JSON,
        "status": st.sampled_from(["completed", "failed", "canceled", "heartbeat"]) | JSON,
        "result": JSON,
        "reason": JSON,
        "details": JSON,
    },
)
BODIES = st.binary(max_size=200) | FIELDS.map(lambda fields: json.dumps(fields).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["swf-task-token", "swf-status", "x-death", UNDECODABLE_HEADERS]) | ANY_TEXT,
    JSON | st.binary() | st.datetimes(),
    max_size=4,
)


@given(BODIES, HEADERS)
@example(b'{"result":' + b"9" * 100_000 + b"}", {})
@example(b'{"result":1e' + b"9" * 100_000 + b"}", BY_HEADERS)
@example(b'{"result":"' + b"\\ud800" * 40_000 + b'"}', BY_HEADERS)
def test_any_bytes_with_any_headers_are_a_reply_or_have_a_reason(body, headers):
    started = time.process_time()
    try:
        found = decode_reply(body, headers)
    except BadReply as error:
        found = error
    assert isinstance(found, Reply) or found.code in DEAD_LETTER_CODES
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_harms_no_thread_with_the_small_stack_of_the_daemons(opening):
    from bridge.daemon import THREAD_STACK

    codes = []

    def decode():
        for depth in range(900, 1_001):
            body = b'{"result":' + opening * depth + b"1"
            body += {b"[": b"]"}.get(opening, b"}") * depth + b"}"
            try:
                decode_reply(body, BY_HEADERS)
            except BadReply as error:
                codes.append(error.code)

    before = threading.stack_size(THREAD_STACK)
    try:
        thread = threading.Thread(target=decode)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(30)
    assert set(codes) == {"too-deep"}


# --- replies published again -------------------------------------------------------------------

CAME_WITH = {
    "content_type": "text/plain",
    "correlation_id": "c",
    "reply_to": "inbox",
    "message_id": "another task's",
    "priority": 3,
    "timestamp": 1700000000,
    "delivery_mode": 1,
    "user_id": "worker",
    "expiration": "1000",
    "headers": {
        "mine": [1, {"deep": None}],
        "x-mine": "kept",
        "CC": ["a"],
        "BCC": ["b"],
        "x-death": [{"count": 1}],
        "x-first-death-queue": "q",
        "x-first-death-reason": "expired",
        "x-first-death-exchange": "",
        "x-last-death-queue": "q",
        "x-last-death-reason": "rejected",
    },
}


def test_a_dead_letter_keeps_body_properties_and_headers_but_what_would_send_it_astray():
    message = dead_letter("swf.replies.dead", b"\xff", CAME_WITH, "not-utf8", "why")
    assert (message.exchange, message.routing_key) == ("", "swf.replies.dead")
    assert message.mandatory
    assert message.body == b"\xff"
    assert message.properties == {
        "content_type": "text/plain",
        "correlation_id": "c",
        "reply_to": "inbox",
        "message_id": "another task's",
        "priority": 3,
        "timestamp": 1700000000,
        "delivery_mode": 2,
        "headers": {
            "mine": [1, {"deep": None}],
            "x-mine": "kept",
            "swf-bridge-error": "not-utf8",
            "swf-bridge-error-detail": "why",
        },
    }


def test_a_reply_for_the_tail_keeps_the_same_and_says_nothing_of_an_error():
    message = to_the_tail("swf.replies", b"{}", CAME_WITH)
    assert message.routing_key == "swf.replies"
    assert message.body == b"{}"
    assert message.properties["headers"] == {"mine": [1, {"deep": None}], "x-mine": "kept"}
    assert not {"user_id", "expiration"} & set(message.properties)
    assert message.properties["delivery_mode"] == 2


def test_headers_over_64_kib_together_are_left_out_the_largest_first_and_named():
    headers = {"huge": "x" * 50_000, "large": "y" * 20_000, "small": "z"}
    message = dead_letter("q", b"", {"headers": headers}, "not-json", "why")
    kept = message.properties["headers"]
    assert set(kept) == {"large", "small", "swf-bridge-error", "swf-bridge-error-detail"}
    assert kept["swf-bridge-error-detail"] == "why; headers left out: huge"
    assert set(to_the_tail("q", b"", {"headers": headers}).properties["headers"]) == {
        "large",
        "small",
    }


def test_headers_of_64_kib_stay():
    name, value = "n", "x" * (HEADERS_LIMIT - 11)
    message = dead_letter("q", b"", {"headers": {name: value}}, "not-json", "why")
    assert name in message.properties["headers"]
    message = dead_letter("q", b"", {"headers": {name: value + "x"}}, "not-json", "why")
    assert name not in message.properties["headers"]


def test_tens_of_thousands_of_headers_take_no_time():
    headers = {f"{number:x}": None for number in range(30_000)}
    started = time.process_time()
    message = dead_letter("q", b"", {"headers": headers}, "not-json", "why")
    assert time.process_time() - started < 1.0
    assert len(message.properties["headers"]["swf-bridge-error-detail"]) <= 1024


def test_headers_that_cannot_be_decoded_are_said_to_be_left_out():
    headers = {UNDECODABLE_HEADERS: "ValueError"}
    kept = dead_letter("q", b"", {"headers": headers}, "not-json", "why").properties["headers"]
    assert UNDECODABLE_HEADERS not in kept
    assert kept["swf-bridge-error-detail"].startswith("why; headers left out: all")


def test_a_header_whose_name_is_not_utf8_is_kept_like_any_other():
    headers = {b"\xff": "kept", b"x-\xff-death": "dropped", b"\xfe": "x" * 70_000}
    kept = dead_letter("q", b"", {"headers": headers}, "not-json", "why").properties["headers"]
    assert kept[b"\xff"] == "kept"
    assert b"x-\xff-death" not in kept
    assert kept["swf-bridge-error-detail"] == "why; headers left out: \ufffd"


@given(st.text(max_size=3000))
def test_the_detail_of_a_dead_letter_fits_a_header_whatever_swf_said(detail):
    headers = dead_letter("q", b"", {}, "refused-by-swf", detail + HALF).properties["headers"]
    assert len(headers["swf-bridge-error-detail"].encode()) <= 4 * 1024


@given(HEADERS)
def test_any_headers_can_be_published_again(headers):
    for message in (
        dead_letter("q", b"", {"headers": headers}, "not-json", "why"),
        to_the_tail("q", b"", {"headers": headers}),
    ):
        assert not {"CC", "BCC", "x-death", UNDECODABLE_HEADERS} & set(
            message.properties["headers"]
        )


# --- between instances -------------------------------------------------------------------------


def test_a_notice_is_understood_as_it_was_meant():
    tasks = [a_task(token).id for token in ("a", "b")]
    message = notice("settled", tasks, "instance-a", exchange="swf.replies.notices")
    assert (message.exchange, message.mandatory) == ("swf.replies.notices", False)
    assert decode_notice(message.body) == ("settled", tasks, "instance-a")


@given(BODIES)
@example(b'{"notice":"settled","tasks":["\\ud800"],"from":"a"}')
@example(b'{"notice":"settled","tasks":[["a"]],"from":"a"}')
@example(b'{"notice":"settled","tasks":"a","from":"a"}')
@example(b"[" * 100_000)
def test_what_is_no_notice_is_understood_as_none(body):
    assert decode_notice(body) == ("", [], "")


def test_a_dead_lettered_task_says_why_also_after_it_went_to_the_tail_twice():
    death = {
        "x-death": [{"reason": "rejected", "queue": "work", "count": 1}],
        "swf-task-token": "t",
    }
    properties = {"type": "swf.activity-task.v1", "headers": death}
    for _ in range(2):
        again = to_the_tail("swf.undeliverable", b'{"taskToken": "t"}', properties)
        properties = again.properties
        assert "x-death" not in properties["headers"]
    failed = decode_undeliverable(again.body, properties["headers"])
    assert failed.reason == "undeliverable: rejected in queue work, count 1"


# --- deadlines ---


def test_a_deadline_is_a_header_of_milliseconds_rounded_up():
    def headers(deadline):
        task = a_task()
        given = {"exchange": "x", "routing_key": "k", "reply_to": "r", "deadline": deadline}
        return task_message(task, encode_task(task), **given).properties["headers"]

    assert headers(1764345600.0001)["swf-deadline"] == 1764345600001
    assert "swf-deadline" not in headers(None)


def test_a_message_expires_after_what_is_left_when_it_is_sent():
    def sent(seconds):
        message = Message("x", "k", b"", {}, until=time.monotonic() + seconds)
        return to_pika(message, "1", "swf-bridge-attempt").expiration

    assert 4_000 < int(sent(5)) <= 5_001
    assert sent(-5) == "0"
    assert to_pika(Message("x", "k", b""), "1", "swf-bridge-attempt").expiration is None


def test_a_time_that_rabbitmq_would_close_the_channel_over_is_not_told():
    assert expiration(2**32 / 1000 - 1) == str(2**32 - 1000)
    assert expiration(2**32 / 1000) is None


@pytest.mark.parametrize(
    ("headers", "expired", "deadline"),
    [
        ({}, False, None),
        ({"x-death": [{"reason": "expired", "queue": "q", "count": 1}]}, True, None),
        ({"x-death": [{"reason": "rejected", "queue": "q", "count": 1}]}, False, None),
        ({"swf-bridge-death": "expired in queue q, count 1", "swf-deadline": 1500}, True, 1.5),
        ({"x-death": "expired", "swf-deadline": "1500"}, False, None),
        ({"swf-deadline": True}, False, None),
    ],
)
def test_a_task_that_came_back_says_whether_its_time_was_up(headers, expired, deadline):
    assert (is_expired(headers), deadline_of(headers)) == (expired, deadline)

import json
from urllib.parse import quote

import pytest

from bridge.telemetry.redact import MARK, redact, redact_value, register_secret

TOKEN = "AAAAKgAAAAIAAAAAAAAAAx7Qf+Zk/1b="
INPUT = 'the "input" of\n a \\task\\ {}'


# What is registered stays so for the whole process: no other test's text has these secrets in it.

TASK = {"taskToken": TOKEN, "activityId": "17", "input": INPUT}
QUOTED = {
    "json": json.dumps(TASK),
    "repr": repr(TASK),
    "json in a repr": repr(json.dumps(TASK)),
    "bytes": repr(json.dumps(TASK).encode()),
    "json in json": json.dumps(json.dumps(TASK)),
    "cut short": json.dumps(TASK)[:-5],
    "headers": repr({"headers": {"swf-task-token": TOKEN, "x": 1}}),
    "a request": f"POST / HTTP/1.1\nswf-task-token: {TOKEN}\nHost: x",
    "a reply": json.dumps({"status": "completed", "result": {"deep": [INPUT, TOKEN]}}),
    "SWF": f"1 validation error detected: Value '{TOKEN}' at 'taskToken' failed to satisfy",
    "botocore": f"Invalid type for parameter input, value: {INPUT!r}, type: <class 'int'>",
    "assignment": f"task_token={TOKEN}",
}


@pytest.mark.parametrize("text", QUOTED.values(), ids=QUOTED)
def test_tokens_inputs_and_results_are_taken_out_however_they_are_quoted(text):
    told = redact(text)
    assert MARK in told
    assert TOKEN not in told
    assert "the " not in told


def test_what_stands_beside_a_secret_is_kept():
    assert redact(json.dumps(TASK)) == (
        f'{{"taskToken": {MARK}, "activityId": "17", "input": {MARK}}}'
    )


@pytest.mark.parametrize(
    "url",
    [
        "amqp://bridge:plums42@rabbit:5672/%2F",
        "amqps://bridge:plums42@rabbit",
        "AMQP://:plums42@rabbit",
        "amqp://bridge:plums42/with@both@rabbit/vhost",
        "amqp://a:plums42@one,amqp://b:plums42@two",
        "https://user:plums42@proxy:3128",
    ],
)
def test_the_password_of_a_url_is_taken_out(url):
    told = redact(f"cannot connect to {url} (refused)")
    assert "plums42" not in told
    assert told.endswith("(refused)")


@pytest.mark.parametrize(
    "text",
    [
        "task.published",
        "the result of it, with details",
        "https://swf.eu-west-1.amazonaws.com:443/ mail me@example.org",
        "images.resize-2.1.0",
        "0123456789abcdef" * 6,
        "/" + "/".join(["opt", "swf-Bridge", "lib", "Python311"] * 5),
        "x" * 300,
        "",
    ],
)
def test_ordinary_text_is_left_as_it_is(text):
    assert redact(text) == text


def test_a_long_run_that_looks_like_a_token_is_taken_out():
    token = "AAAAKgAAAAIAAAAAAAAAAx7Qf+Zk/1b" * 4
    assert redact(f"no such task: {token}!") == f"no such task: {MARK}!"


SECRET = "s3cr@t/'\"x"


@pytest.mark.parametrize(
    "spelling",
    [SECRET, quote(SECRET), quote(SECRET, safe=""), repr(SECRET)[1:-1], json.dumps(SECRET)[1:-1]],
    ids=["plain", "path", "url", "repr", "json"],
)
def test_a_registered_secret_is_found_in_every_spelling(spelling):
    register_secret(quote(SECRET))
    assert (
        redact(f"login failed with {spelling} at rabbit") == f"login failed with {MARK} at rabbit"
    )


def test_of_a_url_the_password_is_the_secret():
    register_secret("amqps://bridge:hunt%40er@rabbit:5671/%2F")
    assert redact("hunt@er of bridge at rabbit:5671") == f"{MARK} of bridge at rabbit:5671"


def test_a_secret_that_begins_another_does_not_leave_its_rest():
    register_secret("quince8")
    register_secret("quince8-and-more")
    assert redact("quince8-and-more") == MARK


@pytest.mark.parametrize("secret", ["", "abc", "guest"])
def test_what_is_too_short_or_public_tears_up_no_text(secret):
    register_secret(secret)
    text = "abcd guest efgh"
    assert redact(text) == text


def test_values_are_redacted_all_through_and_fit_for_json():
    told = redact_value(
        {
            "taskToken": TOKEN,
            "list": ["amqp://a:plums42@h", {"input": [1, 2]}, None, True, 1.5, float("nan")],
            "body": b"plums42",
            "error": ValueError(f"taskToken={TOKEN}"),
            7: {"details": None},
        }
    )
    assert told == {
        "taskToken": MARK,
        "list": [f"amqp://a:{MARK}@h", {"input": MARK}, None, True, 1.5, "nan"],
        "body": "<7 bytes>",
        "error": f"taskToken={MARK}",
        "7": {"details": None},
    }
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_hostile_text_takes_no_time():
    for text in ('"input": "' * 3000, "a://b:" * 5000, "token" * 6000, "value '" * 5000):
        redact(text)


@pytest.mark.parametrize("text", ["amqp://u:plums42@h", "password: plums42", "PassWd=plums42"])
@pytest.mark.parametrize("header", ["", "Authorization: plums42, ", "x-amz-security-token: x\n"])
def test_a_secret_without_any_other_cue_beside_it_is_taken_out(header, text):
    told = redact(header + text)
    assert MARK in told
    assert "plums42" not in told


def test_a_url_without_a_password_has_no_secret():
    register_secret("amqp://open-house")
    told = redact("amqp://open-house:plums42@one, not amqp://open-house")
    assert told == f"amqp://open-house:{MARK}@one, not amqp://open-house"

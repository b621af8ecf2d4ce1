"""The contract as files says what the daemon does: schemas, examples, AsyncAPI."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import BadReply
from bridge.message.message import ERROR_AT_HEADER
from bridge.message.replies import DEAD_LETTER_CODES, decode_reply
from bridge.message.message import (
    cancellation,
    decode_task,
    encode_task,
    heartbeat_answer,
    task_message,
)
from bridge.rabbitmq.consuming.copies import dead_letter
from bridge.task import ActivityTask
from tests.schemas import (
    CONFIG,
    NAMES,
    Draft202012Validator,
    assert_valid,
    examples,
    validator,
)

ROOT = Path(__file__).parents[2]
REPLIES = ("reply-completed", "reply-failed", "reply-canceled", "reply-heartbeat")
TEXT = st.text(st.characters(exclude_categories=()), min_size=1, max_size=64)


def named(example: tuple[str, str, Any]) -> str:
    return f"{example[0]}: {example[1]}"


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_and_has_examples_of_both_kinds(name: str) -> None:
    Draft202012Validator.check_schema(validator(name).schema)
    assert examples("valid", name)
    assert examples("invalid", name)


@pytest.mark.parametrize("example", examples("valid"), ids=named)
def test_a_valid_example_is_valid(example: tuple[str, str, Any]) -> None:
    name, _, value = example
    assert_valid(name, value)


@pytest.mark.parametrize("example", examples("invalid"), ids=named)
def test_an_invalid_example_is_invalid(example: tuple[str, str, Any]) -> None:
    name, _, value = example
    assert not validator(name).is_valid(value)


def test_ajv_and_the_asyncapi_parser_agree() -> None:
    done = subprocess.run(
        ["node", "tools/node/contract.mjs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    both = len(examples("valid")) + len(examples("invalid"))
    assert done.stdout.startswith(f"{both} examples and 8 messages ")


def test_every_message_of_asyncapi_has_examples_that_its_schemas_take() -> None:
    messages = yaml.safe_load((CONFIG / "asyncapi.yaml").read_text())["components"]["messages"]
    for name, message in messages.items():
        assert message["examples"], name
        for example in message["examples"]:
            assert example["summary"]
            for part in ("headers", "payload"):
                if part in message:
                    schema = Path(message[part]["schema"]["$ref"]).stem
                    assert_valid(schema, example[part])
                    assert schema in NAMES


def test_asyncapi_names_every_schema() -> None:
    text = (CONFIG / "asyncapi.yaml").read_text()
    assert [name for name in NAMES if f"{{$ref: schemas/{name}.json}}" not in text] == []


@pytest.mark.parametrize("example", examples("valid", *REPLIES), ids=named)
def test_a_valid_reply_is_taken_as_it_came(example: tuple[str, str, Any]) -> None:
    name, _, value = example
    reply = decode_reply(json.dumps(value).encode(), {})
    assert type(reply).__name__.lower() == name.removeprefix("reply-")
    for field in ("result", "reason", "details"):
        if isinstance(value.get(field), str):
            assert getattr(reply, field) == value[field]


@pytest.mark.parametrize("example", examples("invalid", *REPLIES), ids=named)
def test_an_invalid_reply_is_refused_or_cut(example: tuple[str, str, Any]) -> None:
    _, _, value = example
    try:
        reply = decode_reply(json.dumps(value).encode(), {})
    except BadReply:
        return
    assert any(str(getattr(reply, field, "")).endswith("…") for field in ("reason", "details"))


@pytest.mark.parametrize("example", examples("valid", "task"), ids=named)
def test_a_task_of_the_examples_could_have_come_from_the_bridge(
    example: tuple[str, str, Any],
) -> None:
    _, _, value = example
    again = json.loads(encode_task(decode_task(json.dumps(value).encode(), 0.0)))
    assert again == {k: v for k, v in value.items() if k in again}


@given(TEXT, TEXT, st.none() | TEXT | st.just(""), st.integers(0, 2**53))
def test_every_message_of_the_bridge_is_valid(
    text: str, token: str, task_input: str | None, event: int
) -> None:
    task = ActivityTask(
        token, text, event, text, text, text, text, task_input, text, text, polled_at=1.0
    )
    body = encode_task(task)
    assert_valid("task", json.loads(body))
    message = task_message(
        task, body, exchange="x", routing_key="k", reply_to="r", deadline=event / 1000
    )
    headers = message.with_headers({"swf-bridge-attempt": "1"}).properties["headers"]
    assert_valid("task-headers", headers)
    for is_open in (True, False):
        answer = heartbeat_answer(token, "q", None, is_open=is_open, cancel_requested=is_open)
        assert_valid("heartbeat-answer", json.loads(answer.body))
    notice = cancellation(token, task.id, exchange="x", routing_key="k")
    assert_valid("cancellation", json.loads(notice.body))


@given(st.sampled_from(sorted(DEAD_LETTER_CODES)), TEXT)
def test_every_dead_letter_of_the_bridge_is_valid(code: str, detail: str) -> None:
    letter = dead_letter("q", b"", {"headers": {"mine": 1}}, code, detail * 40)
    letter = letter.with_headers({ERROR_AT_HEADER: 1_700_000_000})
    assert_valid("dead-letter-headers", letter.properties["headers"])
    assert letter.properties["headers"]["mine"] == 1

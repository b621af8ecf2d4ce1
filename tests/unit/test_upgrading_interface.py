"""Settings and messages of the first version, which every 1.x has to take (docs/upgrading.md).

What the first version had stands here as it was. More may be added; nothing here is to be changed.
"""

import json
from pathlib import Path

import pytest

from bridge.message.message import (
    Message,
    cancellation,
    encode_task,
    heartbeat_answer,
    task_message,
)
from bridge.message.replies import DEAD_LETTER_CODES, decode_reply
from bridge.settings.settings import Settings
from bridge.task import Canceled, Completed, Failed, Heartbeat
from tests.schemas import Draft202012Validator
from tests.unit.bridge_parts import a_task
from tests.unit.settings_given import load

SCHEMAS = Path(__file__).parents[2] / "config/schemas"

# --- settings ---

DEFAULTS = {
    "pollers": "2", "max_in_flight": "100", "in_flight_timeout": "86400", "read_timeout": "70",
    "responders": "8", "reply_memory": "64", "unroutable_timeout": "60", "drain_timeout": "75",
    "keepalive": "off", "keepalive_limit": "3600", "deadlines": "off", "deadline_calls": "20",
    "amqp_url": "amqp://guest:***@localhost:5672/%2F", "amqp_shuffle": "true",
    "amqp_ca_file": "", "amqp_cert_file": "", "amqp_key_file": "", "declare": "true",
    "exchange": "swf.activities", "routing_key": "{name}.{version}", "reply_queue": "swf.replies",
    "dead_letter_queue": "swf.replies.dead", "cancel_exchange": "swf.cancellations",
    "undeliverable": "swf.undeliverable", "journal": "swf-bridge.db", "control": "swf-bridge.sock",
    "http": "127.0.0.1:9464", "http_names": "", "swf_client": "auto", "log_level": "INFO",
    "log_format": "auto", "sentry_dsn": "", "sentry_environment": "",
    "sentry_traces_sample_rate": "0",
}  # fmt: skip
SET = {
    "pollers": "4", "max_in_flight": "7", "in_flight_timeout": "3600", "read_timeout": "90",
    "responders": "3", "reply_memory": "32", "unroutable_timeout": "0", "drain_timeout": "30",
    "keepalive": "20", "keepalive_limit": "600", "deadlines": "type", "deadline_calls": "5",
    "identity": "mine", "amqp_shuffle": "false", "declare": "false", "exchange": "e",
    "routing_key": "{domain}.{task_list}.{name}.{version}", "reply_queue": "r",
    "dead_letter_queue": "d", "cancel_exchange": "c", "undeliverable": "u",
    "journal": "/srv/journal.db", "control": "/srv/control.sock", "http": "off",
    "swf_client": "boto3", "log_level": "DEBUG", "log_format": "json",
}  # fmt: skip


def shown(**given: str) -> dict[str, str]:
    return load(**{name.upper(): value for name, value in given.items()}).shown()


def test_what_is_not_set_has_the_default_of_the_first_version():
    now = shown()
    assert {name: now.get(name) for name in DEFAULTS} == DEFAULTS


def test_what_was_set_for_the_first_version_is_taken_and_means_the_same():
    now = shown(**SET)
    assert {name: now.get(name) for name in SET} == SET


def test_nothing_that_is_new_has_to_be_set():
    assert set(shown()) >= DEFAULTS.keys()  # loaded from domain and task lists alone
    assert {name for name, each in Settings.model_fields.items() if each.is_required()} == {
        "task_lists"
    }


def test_task_lists_as_the_first_version_had_them_are_taken():
    each = {"name": "a", "domain": "d", "pollers": 3, "max_in_flight": 4, "queue": "q"}
    (told,) = json.loads(shown(task_lists=json.dumps([each | {"keepalive": 20}]))["task_lists"])
    assert each.items() <= told.items()
    assert told["keepalive"] == 20


# --- messages to workers ---

TOKEN = "token-1"
TASK = {
    "taskToken": TOKEN,
    "activityId": "activity-1",
    "startedEventId": 6,
    "workflowExecution": {"workflowId": "workflow-1", "runId": "run-1"},
    "activityType": {"name": "Greeter.say", "version": "1.0"},
    "domain": "demo",
    "taskList": "list",
    "input": "hello",
}
HEADERS = {
    "swf-task-token": TOKEN,
    "swf-domain": "demo",
    "swf-task-list": "list",
    "swf-activity-id": "activity-1",
    "swf-workflow-id": "workflow-1",
    "swf-run-id": "run-1",
}
PROPERTIES = {"content_type": "application/json", "delivery_mode": 2, "app_id": "swf-bridge"}


def holds(now: dict, then: dict) -> None:
    """What there was is there, as it was; there may be more."""
    assert {name: now.get(name) for name in then} == then


def told(message: Message, kind: str, body: dict) -> None:
    holds(json.loads(message.body), body)
    holds(dict(message.properties), {**PROPERTIES, "type": kind})


def test_a_task_is_told_as_the_first_version_told_it():
    task = a_task(domain="demo", task_list="list", polled_at=1_700_000_000.25)
    message = task_message(
        task, encode_task(task), exchange="e", routing_key="k", reply_to="r", deadline=1_700_000_060
    )
    told(message, "swf.activity-task.v1", TASK)
    names = {"message_id": task.id, "correlation_id": task.id, "reply_to": "r"}
    holds(dict(message.properties), names | {"timestamp": 1_700_000_000})
    holds(message.properties["headers"], HEADERS | {"swf-deadline": 1_700_000_060_000})


def test_the_name_of_a_task_is_made_as_the_first_version_made_it():
    assert a_task(TOKEN).id == "3f08aace122ee2368432c1ca23a049bc"


def test_an_answer_and_a_cancellation_are_told_as_the_first_version_told_them():
    answer = heartbeat_answer(TOKEN, "r", "c", is_open=True, cancel_requested=False)
    told(
        answer,
        "swf.heartbeat-answer.v1",
        {"taskToken": TOKEN, "open": True, "cancelRequested": False},
    )
    notice = cancellation(TOKEN, "id", exchange="e", routing_key="k")
    told(notice, "swf.cancellation.v1", {"taskToken": TOKEN, "cancelRequested": True})


@pytest.mark.parametrize("name", ["task", "heartbeat-answer", "cancellation"])
def test_a_worker_that_checks_by_the_schema_takes_what_a_later_version_adds(name):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    example = json.loads(next((SCHEMAS / "examples" / name / "valid").glob("*.json")).read_text())
    validator = Draft202012Validator(schema)
    assert validator.is_valid(example | {"added": {"later": True}})
    assert not validator.is_valid({"added": {"later": True}})


# --- messages from workers ---

REPLIES = [
    ({"status": "completed", "result": "r"}, Completed(TOKEN, "r")),
    ({"status": "failed", "reason": "r", "details": "d"}, Failed(TOKEN, "r", "d")),
    ({"status": "canceled", "details": "d"}, Canceled(TOKEN, "d")),
    ({"status": "heartbeat", "details": "d"}, Heartbeat(TOKEN, "d")),
]


@pytest.mark.parametrize(("fields", "meant"), REPLIES)
def test_a_reply_to_the_first_version_means_the_same(fields, meant):
    body = {"taskToken": TOKEN, **fields}
    assert decode_reply(json.dumps(body).encode(), {}) == meant
    assert decode_reply(json.dumps(body | {"added": "later"}).encode(), {"swf-more": 1}) == meant
    headers = {"swf-task-token": TOKEN, "swf-status": fields["status"]}
    assert type(decode_reply(b"", headers)) is type(meant)


def test_a_dead_letter_has_the_codes_of_the_first_version():
    assert {
        "not-utf8", "not-json", "not-an-object", "too-deep", "too-large", "token-missing",
        "token-invalid", "status-missing", "status-unknown", "result-too-large", "refused-by-swf",
    } <= set(DEAD_LETTER_CODES)  # fmt: skip

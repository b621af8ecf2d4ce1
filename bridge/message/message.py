"""The messages of the wire contract: properties, headers, and the bodies of those to workers. Pure.

Properties have the names of AMQP 0-9-1; ``headers`` is one of them. Messages to workers are tasks,
heartbeat answers and cancellations (contract §§2 and 3).
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.bounds import decode_json
from bridge.task import ActivityTask

APP_ID = "swf-bridge"
JSON = "application/json"
PERSISTENT = 2

TOKEN_HEADER = "swf-task-token"  # noqa: S105 - the name of a header
STATUS_HEADER = "swf-status"
ATTEMPT_HEADER = "swf-bridge-attempt"
DEADLINE_HEADER = "swf-deadline"
ERROR_HEADER = "swf-bridge-error"
DETAIL_HEADER = "swf-bridge-error-detail"
ERROR_AT_HEADER = "swf-bridge-error-at"
"""When a reply was put into the dead-letter queue, in seconds since the epoch."""
DEATH_HEADER = "swf-bridge-death"
"""Why a task message was dead-lettered, kept when it is republished to the tail of the queue."""

CUT_HEADER = "swf-bridge-cut"
"""The full size in bytes of a body that was received only in part."""

UNDECODABLE_HEADERS = "swf-bridge-undecodable-headers"
"""Replaces the headers of a message if they cannot be decoded. It is never sent."""

_WORKER = ("app_id", "user_id")
"""The worker's name, as it chose it, and its login."""
_MESSAGE = ("message_id", "correlation_id")
_SHOWN = 64
"""Maximum characters of a property in the log."""

TASK_TYPE = "swf.activity-task.v1"
_TASK_TYPES = "swf.activity-task."
HEARTBEAT_TYPE = "swf.heartbeat-answer.v1"
CANCELLATION_TYPE = "swf.cancellation.v1"
_WORDS = {"taskToken", "open", "cancelRequested"}
"""The fields of heartbeat answers and cancellation notices."""
_LONGEST_WORD = 16_384
"""Maximum bytes of their bodies: a token of 1,024 escaped characters takes less than half."""

EXPIRATION_LIMIT = 2**32 - 1
"""RabbitMQ's maximum of the ``expiration`` property, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to publish."""

    exchange: str
    routing_key: str
    body: bytes
    properties: Mapping[str, Any] = field(default_factory=dict)
    mandatory: bool = True
    until: float | None = None
    """Monotonic seconds after which the message is of no use; None: never."""

    def with_headers(self, headers: Mapping[str, Any]) -> "Message":
        """The same message with ``headers`` added to its own."""
        merged = {**(self.properties.get("headers") or {}), **headers}
        return replace(self, properties={**self.properties, "headers": merged})


def properties_of(kind: str, correlation_id: str | None) -> dict[str, Any]:
    """The properties common to all messages of the bridge, with ``kind`` as ``type``."""
    return {
        "content_type": JSON,
        "delivery_mode": PERSISTENT,
        "type": kind,
        "app_id": APP_ID,
        "correlation_id": correlation_id,
    }


def encodable(text: str) -> str:
    """``text`` with each lone surrogate, which UTF-8 cannot encode, replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def encodable_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with each value passed through ``encodable``."""
    return {name: encodable(value) for name, value in headers.items()}


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
)


def compact_json(value: object, *, ascii_only: bool = False) -> str:
    """The value as JSON without white space. Raises ValueError for NaN and infinities."""
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"), allow_nan=False)


def compact_json_parts(value: object) -> Iterator[str]:
    """The parts of ``compact_json(value)``, of a value that does not contain itself, one by one."""
    return _ENCODER.iterencode(value)


def encode_json(fields: Mapping[str, object]) -> bytes:
    """A message body: JSON escaped to ASCII, because UTF-8 cannot encode lone surrogates."""
    return compact_json(fields, ascii_only=True).encode("ascii")


# --- messages to workers ---


def encode_task(task: ActivityTask) -> bytes:
    """The body of a task message: SWF's fields under SWF's names, domain and task list."""
    fields: dict[str, Any] = {
        "taskToken": task.token,
        "activityId": task.activity_id,
        "startedEventId": task.started_event_id,
        "workflowExecution": {"workflowId": task.workflow_id, "runId": task.run_id},
        "activityType": {"name": task.name, "version": task.version},
        "domain": task.domain,
        "taskList": task.task_list,
    }
    if task.input is not None:
        fields["input"] = task.input
    return encode_json(fields)


def decode_task(body: bytes, polled_at: float, given_at: float | None = None) -> ActivityTask:
    """The task that ``encode_task`` encoded; the body does not contain the times."""
    fields = decode_json(body, size=len(body))
    return ActivityTask(
        token=fields["taskToken"],
        activity_id=fields["activityId"],
        started_event_id=fields["startedEventId"],
        workflow_id=fields["workflowExecution"]["workflowId"],
        run_id=fields["workflowExecution"]["runId"],
        name=fields["activityType"]["name"],
        version=fields["activityType"]["version"],
        input=fields.get("input"),
        domain=fields["domain"],
        task_list=fields["taskList"],
        polled_at=polled_at,
        given_at=given_at,
    )


def task_message(
    task: ActivityTask,
    body: bytes,
    *,
    exchange: str,
    routing_key: str,
    reply_to: str,
    deadline: float | None = None,
    until: float | None = None,
) -> Message:
    """The message that hands ``task`` to a worker.

    ``deadline`` is when SWF times out the task, by SWF's clock; ``until`` is ``Message.until``.
    """
    headers = {
        TOKEN_HEADER: task.token,
        "swf-domain": task.domain,
        "swf-task-list": task.task_list,
        "swf-activity-id": task.activity_id,
        "swf-workflow-id": task.workflow_id,
        "swf-run-id": task.run_id,
    }
    properties = {
        **properties_of(TASK_TYPE, task.id),
        "message_id": task.id,
        "reply_to": reply_to,
        "timestamp": int(task.polled_at),
        "headers": encodable_headers(headers),
    }
    if deadline is not None:
        properties["headers"][DEADLINE_HEADER] = math.ceil(deadline * 1000)
    return Message(exchange, routing_key, body, properties, until=until)


def expiration(seconds: float) -> str | None:
    """The ``expiration`` property of a message that expires in ``seconds``.

    None beyond EXPIRATION_LIMIT (49 days): RabbitMQ would close the channel.
    """
    milliseconds = math.ceil(seconds * 1000)
    return str(milliseconds) if milliseconds <= EXPIRATION_LIMIT else None


def heartbeat_answer(
    token: str, reply_to: str, correlation_id: str | None, *, is_open: bool, cancel_requested: bool
) -> Message:
    """The answer to a heartbeat with ``reply_to``; not mandatory, as that queue may be gone."""
    fields = {"taskToken": token, "open": is_open, "cancelRequested": cancel_requested}
    properties = properties_of(HEARTBEAT_TYPE, correlation_id)
    return Message("", reply_to, encode_json(fields), properties, mandatory=False)


def cancellation(token: str, task_id: str, *, exchange: str, routing_key: str) -> Message:
    """The notice that SWF asks to cancel a task; not mandatory, as no worker need bind a queue."""
    body = encode_json({"taskToken": token, "cancelRequested": True})
    properties = {
        **properties_of(CANCELLATION_TYPE, task_id),
        "headers": encodable_headers({TOKEN_HEADER: token}),
    }
    return Message(exchange, routing_key, body, properties, mandatory=False)


def names_no_task(body: bytes, properties: Mapping[str, Any]) -> bool:
    """Whether a dead-lettered message is one of a bridge's, but not a task message.

    Heartbeat answers and cancellation notices hold a token and may be dead-lettered too. Their
    task must not be failed for that.
    """
    kind = properties.get("type")
    if isinstance(kind, str) and kind and properties.get("app_id") == APP_ID:
        return not kind.startswith(_TASK_TYPES)
    if len(body) > _LONGEST_WORD:
        return False
    try:
        fields = decode_json(body, size=len(body))
    except ValueError:
        return False
    return isinstance(fields, dict) and "cancelRequested" in fields and not fields.keys() - _WORDS


def worker(properties: Mapping[str, Any]) -> dict[str, str]:
    """The properties that identify the worker, for the log; empty if it sets none of them.

    RabbitMQ adds no such data, and verifies only the login.
    """
    return _shown(properties, _WORKER)


def sender(properties: Mapping[str, Any]) -> dict[str, str]:
    """The properties that identify the worker and the message, for the log."""
    return _shown(properties, (*_WORKER, *_MESSAGE))


def _shown(properties: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    return {
        each: str(value)[:_SHOWN] for each in names if (value := properties.get(each)) is not None
    }

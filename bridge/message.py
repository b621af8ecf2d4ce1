"""The wire contract, both directions (contract §§2 and 3): SWF's words ↔ AMQP messages. Pure.

A worker author who reads this file alone knows every byte that passes; ``routing.py`` has the key
under which it does. Properties bear the names of AMQP 0-9-1; ``headers`` is one of them.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.bounds import SIZE, TooDeep, TooLarge, decode_json, texts_at_ends
from bridge.errors import BadReply, Rejected
from bridge.task import (
    DETAILS_LIMIT,
    HEARTBEAT_DETAILS_LIMIT,
    REASON_LIMIT,
    RESULT_LIMIT,
    TOKEN_LIMIT,
    ActivityTask,
    Canceled,
    Completed,
    Failed,
    Heartbeat,
    Reply,
    cut,
    utf16_length,
)

APP_ID = "swf-bridge"
JSON = "application/json"
TASK_TYPE = "swf.activity-task.v1"
_TASK_TYPES = "swf.activity-task."
HEARTBEAT_TYPE = "swf.heartbeat-answer.v1"
CANCELLATION_TYPE = "swf.cancellation.v1"
_WORDS = {"taskToken", "open", "cancelRequested"}
"""The fields of an answer to a heartbeat, and of a notice of a cancel."""
_LONGEST_WORD = 16_384
"""Bytes of one of these: a token of 1,024 characters, all of them escaped, takes half of it."""
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
"""Why a task message was dead-lettered, once it waits for SWF at the tail of the queue."""

CUT_HEADER = "swf-bridge-cut"
"""The bytes that a body had whose end was left out when it came."""

UNDECODABLE_HEADERS = "swf-bridge-undecodable-headers"
"""Stands for a message's headers where they cannot be decoded; it is never sent."""

VALUES = 65_536
"""Commas, arrays and objects of a reply, outside of strings: twice what SWF's limit leaves for."""

TOO_LARGE = "too-large"
DEAD_LETTER_CODES = {
    "not-utf8": "the body is not UTF-8",
    "not-json": "the body is not JSON (NaN and infinities are none)",
    "not-an-object": "the body is JSON, but not an object",
    "too-deep": "the body nests arrays and objects deeper than 100 levels",
    TOO_LARGE: "the body is over 1 MiB or 65,536 values; a task that it names was failed",
    "token-missing": "neither the body nor the headers name a task token",
    "token-invalid": "the token is no string of 1 to 1,024 characters, or SWF calls it invalid",
    "status-missing": "neither the body nor the headers name a status",
    "status-unknown": "the status is none of completed, failed, canceled, heartbeat",
    "result-too-large": "the result is over SWF's limit; the task was failed",
    "refused-by-swf": "SWF refused the reply for good; the task was failed",
}
"""Every value of ``swf-bridge-error``, and what it means."""

EXPIRATION_LIMIT = 2**32 - 1
"""Milliseconds for which RabbitMQ lets a message wait at most, where it is to expire."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to publish."""

    exchange: str
    routing_key: str
    body: bytes
    properties: Mapping[str, Any] = field(default_factory=dict)
    mandatory: bool = True
    until: float | None = None
    """Monotonic seconds after which it is of no use to anybody; None: it always is."""

    def with_headers(self, headers: Mapping[str, Any]) -> "Message":
        """The same message with ``headers`` added to its own."""
        merged = {**(self.properties.get("headers") or {}), **headers}
        return replace(self, properties={**self.properties, "headers": merged})


# --- bridge → worker ---------------------------------------------------------------------------


def encode_task(task: ActivityTask) -> bytes:
    """The body of a task message: SWF's own fields and names, and where it was polled."""
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
    """The task that ``encode_task`` wrote; the times do not stand in the body."""
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

    ``deadline`` is when SWF gives the task up, by SWF's clock; ``until`` is ``Message.until``.
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
        "headers": {name: encodable(value) for name, value in headers.items()},
    }
    if deadline is not None:
        properties["headers"][DEADLINE_HEADER] = math.ceil(deadline * 1000)
    return Message(exchange, routing_key, body, properties, until=until)


def expiration(seconds: float) -> str | None:
    """The property of that name for a message that expires in so many seconds.

    None where that is longer than RabbitMQ takes, 49 days: it would close the channel.
    """
    milliseconds = math.ceil(seconds * 1000)
    return str(milliseconds) if milliseconds <= EXPIRATION_LIMIT else None


def heartbeat_answer(
    token: str, reply_to: str, correlation_id: str | None, *, is_open: bool, cancel_requested: bool
) -> Message:
    """The answer to a heartbeat that named a queue for it; nobody minds if that queue is gone."""
    fields = {"taskToken": token, "open": is_open, "cancelRequested": cancel_requested}
    properties = properties_of(HEARTBEAT_TYPE, correlation_id)
    return Message("", reply_to, encode_json(fields), properties, mandatory=False)


def cancellation(token: str, task_id: str, *, exchange: str, routing_key: str) -> Message:
    """The notice that SWF asks to cancel a task; workers that care have bound a queue for it."""
    body = encode_json({"taskToken": token, "cancelRequested": True})
    properties = {
        **properties_of(CANCELLATION_TYPE, task_id),
        "headers": {TOKEN_HEADER: encodable(token)},
    }
    return Message(exchange, routing_key, body, properties, mandatory=False)


def properties_of(kind: str, correlation_id: str | None) -> dict[str, Any]:
    """The properties that every message of the bridge bears, and its type."""
    return {
        "content_type": JSON,
        "delivery_mode": PERSISTENT,
        "type": kind,
        "app_id": APP_ID,
        "correlation_id": correlation_id,
    }


def encodable(text: str) -> str:
    """``text`` as a header can carry it: UTF-8 has no lone surrogates, each becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# --- worker → bridge ---------------------------------------------------------------------------


def decode_reply(body: bytes, headers: Mapping[str, Any]) -> Reply:
    """What the worker says, within SWF's limits.

    Raises BadReply for what can never be a reply, and Rejected where the task is known and has
    to be failed for it.
    """
    try:
        fields = _object(body) if body else {}
    except BadReply as error:
        raise _with_task(error, body, headers) from None
    token = _token(_first(fields.get("taskToken"), headers.get(TOKEN_HEADER)))
    status = _first(fields.get("status"), headers.get(STATUS_HEADER))
    match status:
        case "completed":
            return Completed(token, _result(token, _text(fields.get("result"))))
        case "failed":
            reason = _cut(fields.get("reason"), REASON_LIMIT)
            return Failed(token, reason, _cut(fields.get("details"), DETAILS_LIMIT))
        case "canceled":
            return Canceled(token, _cut(fields.get("details"), DETAILS_LIMIT))
        case "heartbeat":
            return Heartbeat(token, _cut(fields.get("details"), HEARTBEAT_DETAILS_LIMIT))
        case None:
            raise _bad("status-missing")
    raise _bad("status-unknown")


def token_of(body: bytes, headers: Mapping[str, Any]) -> str:
    """The token that a bad reply names all the same; nothing where it names none."""
    try:
        fields = _object(body) if body else {}
    except BadReply as error:
        fields = texts_at_ends(body, ("taskToken",)) if error.code == TOO_LARGE else {}
    try:
        return _token(_first(fields.get("taskToken"), headers.get(TOKEN_HEADER)))
    except BadReply:
        return ""


def decode_undeliverable(body: bytes, headers: Mapping[str, Any]) -> Failed:
    """The failure of a task message that a worker's queue dead-lettered, with RabbitMQ's reason.

    Raises BadReply for a message that names no task.
    """
    fields = _object(body) if body else {}
    token = _token(_first(fields.get("taskToken"), headers.get(TOKEN_HEADER)))
    return Failed(token, cut(f"undeliverable: {why_dead_lettered(headers)}", REASON_LIMIT))


def is_expired(headers: Mapping[str, Any]) -> bool:
    """Whether RabbitMQ dead-lettered a message because its time in the queue was up."""
    return why_dead_lettered(headers).startswith("expired in queue ")


def deadline_of(headers: Mapping[str, Any]) -> float | None:
    """When SWF gives up the task of a message, in seconds by SWF's clock, where it says so."""
    told = headers.get(DEADLINE_HEADER)
    return told / 1000 if isinstance(told, int) and not isinstance(told, bool) else None


def names_no_task(body: bytes, properties: Mapping[str, Any]) -> bool:
    """Whether a message is another word of a bridge's, of this or any other instance.

    An answer to a heartbeat or a notice of a cancel holds a token, and may be dead-lettered too, or
    be sent where task messages are: its task is failed for none of that.
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


def why_dead_lettered(headers: Mapping[str, Any]) -> str:
    """Why, where and how often RabbitMQ dead-lettered a message, by the last entry of x-death."""
    if isinstance(known := headers.get(DEATH_HEADER), str):
        return known
    deaths = headers.get("x-death")
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[0], Mapping):
        return "no x-death header tells why"
    last = deaths[0]
    reason, queue, count = (last.get(name, "?") for name in ("reason", "queue", "count"))
    return f"{reason} in queue {queue}, count {count}"


def _with_task(error: BadReply, body: bytes, headers: Mapping[str, Any]) -> BadReply:
    """The error, and of a reply too large to be read the task that it would close, if it shows."""
    if error.code != TOO_LARGE:
        return error
    whole = headers.get(CUT_HEADER)
    size = f"{whole} bytes, over the bound of {SIZE}" if isinstance(whole, int) else error.detail
    why = f"reply is not read: {size}"
    seen = texts_at_ends(body, ("status",))
    status, token = _first(seen.get("status"), headers.get(STATUS_HEADER)), token_of(body, headers)
    if token and status in ("completed", "failed", "canceled"):
        return Rejected(TOO_LARGE, why, token=token, reason=why)
    return BadReply(TOO_LARGE, why)


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = decode_json(body, size=SIZE, values=VALUES)
    except TooLarge as error:
        raise BadReply(TOO_LARGE, str(error)) from None
    except UnicodeDecodeError:
        raise _bad("not-utf8") from None
    except TooDeep:
        raise _bad("too-deep") from None
    except ValueError:
        raise _bad("not-json") from None
    if not isinstance(fields, dict):
        raise _bad("not-an-object")
    return fields


def _first(from_body: object, from_headers: object) -> object:
    if from_body is not None:
        return from_body
    return from_headers


def _token(value: object) -> str:
    if value is None:
        raise _bad("token-missing")
    if not isinstance(value, str) or not 1 <= utf16_length(value) <= TOKEN_LIMIT:
        raise _bad("token-invalid")
    return value


def _text(value: object) -> str | None:
    """A field as SWF takes it, a string: what is none becomes compact JSON."""
    if value is None or isinstance(value, str):
        return value
    try:
        return _json(value)
    except ValueError:  # a number too large for a float is read as infinity
        raise _bad("not-json") from None


def _result(token: str, result: str | None) -> str | None:
    if result is not None and (length := utf16_length(result)) > RESULT_LIMIT:
        reason = f"result of {length} characters is over SWF's limit of {RESULT_LIMIT}"
        raise Rejected("result-too-large", reason, token=token, reason=reason)
    return result


def _cut(value: object, limit: int) -> str | None:
    text = _text(value)
    return None if text is None else cut(text, limit)


def _bad(code: str) -> BadReply:
    return BadReply(code, DEAD_LETTER_CODES[code])


def _json(value: object, *, ascii_only: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"), allow_nan=False)


def encode_json(fields: Mapping[str, object]) -> bytes:
    """A body of ours: escaped, for UTF-8 has no lone surrogates."""
    return _json(fields, ascii_only=True).encode("ascii")

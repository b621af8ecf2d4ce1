"""The wire contract, both directions (contract §§2 and 3): SWF's words ↔ AMQP messages. Pure.

A worker author who reads this file alone knows every byte that passes. Properties bear the names
of AMQP 0-9-1; ``headers`` is one of them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

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
HEARTBEAT_TYPE = "swf.heartbeat-answer.v1"
CANCELLATION_TYPE = "swf.cancellation.v1"
NOTICE_TYPE = "swf-bridge.notice.v1"
PERSISTENT = 2

TOKEN_HEADER = "swf-task-token"  # noqa: S105 - the name of a header
STATUS_HEADER = "swf-status"
ATTEMPT_HEADER = "swf-bridge-attempt"
ERROR_HEADER = "swf-bridge-error"
DETAIL_HEADER = "swf-bridge-error-detail"
DEATH_HEADER = "swf-bridge-death"
"""Why a task message was dead-lettered, once it waits for SWF at the tail of the queue."""

UNDECODABLE_HEADERS = "swf-bridge-undecodable-headers"
"""Stands for a message's headers where they cannot be decoded; it is never sent."""

DEAD_LETTER_CODES = {
    "not-utf8": "the body is not UTF-8",
    "not-json": "the body is not JSON (NaN and infinities are none)",
    "not-an-object": "the body is JSON, but not an object",
    "too-deep": "the body is nested past reason",
    "token-missing": "neither the body nor the headers name a task token",
    "token-invalid": "the token is no string of 1 to 1,024 characters, or SWF calls it invalid",
    "status-missing": "neither the body nor the headers name a status",
    "status-unknown": "the status is none of completed, failed, canceled, heartbeat",
    "result-too-large": "the result is over SWF's limit; the task was failed",
    "refused-by-swf": "SWF refused the reply for good; the task was failed",
}
"""Every value of ``swf-bridge-error``, and what it means."""

_TASK_ID = re.compile("[0-9a-f]{32}")
_DEATH = re.compile("x-.*death", re.DOTALL)

DETAIL_LIMIT = 1024
HEADERS_LIMIT = 64 * 1024
"""Bytes of the headers of a reply published again: a frame over 128 KiB ends the connection."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to publish."""

    exchange: str
    routing_key: str
    body: bytes
    properties: Mapping[str, Any] = field(default_factory=dict)
    mandatory: bool = True

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
    return _ascii(fields)


def decode_task(body: bytes, polled_at: float) -> ActivityTask:
    """The task that ``encode_task`` wrote; ``polled_at`` does not stand in the body."""
    fields = json.loads(body)
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
    )


def task_message(
    task: ActivityTask, body: bytes, *, exchange: str, routing_key: str, reply_to: str
) -> Message:
    """The message that hands ``task`` to a worker."""
    headers = {
        TOKEN_HEADER: task.token,
        "swf-domain": task.domain,
        "swf-task-list": task.task_list,
        "swf-activity-id": task.activity_id,
        "swf-workflow-id": task.workflow_id,
        "swf-run-id": task.run_id,
    }
    properties = {
        **_properties(TASK_TYPE, task.id),
        "message_id": task.id,
        "reply_to": reply_to,
        "timestamp": int(task.polled_at),
        "headers": {name: _encodable(value) for name, value in headers.items()},
    }
    return Message(exchange, routing_key, body, properties)


def heartbeat_answer(
    token: str, reply_to: str, correlation_id: str | None, *, is_open: bool, cancel_requested: bool
) -> Message:
    """The answer to a heartbeat that named a queue for it; nobody minds if that queue is gone."""
    fields = {"taskToken": token, "open": is_open, "cancelRequested": cancel_requested}
    properties = _properties(HEARTBEAT_TYPE, correlation_id)
    return Message("", reply_to, _ascii(fields), properties, mandatory=False)


def cancellation(token: str, task_id: str, *, exchange: str, routing_key: str) -> Message:
    """The notice that SWF asks to cancel a task; workers that care have bound a queue for it."""
    body = _ascii({"taskToken": token, "cancelRequested": True})
    properties = {
        **_properties(CANCELLATION_TYPE, task_id),
        "headers": {TOKEN_HEADER: _encodable(token)},
    }
    return Message(exchange, routing_key, body, properties, mandatory=False)


def _properties(kind: str, correlation_id: str | None) -> dict[str, Any]:
    return {
        "content_type": JSON,
        "delivery_mode": PERSISTENT,
        "type": kind,
        "app_id": APP_ID,
        "correlation_id": correlation_id,
    }


def _encodable(text: str) -> str:
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
    fields = _object(body) if body else {}
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


def decode_undeliverable(body: bytes, headers: Mapping[str, Any]) -> Failed:
    """The failure of a task message that a worker's queue dead-lettered, with RabbitMQ's reason.

    Raises BadReply for a message that names no task.
    """
    fields = _object(body) if body else {}
    token = _token(_first(fields.get("taskToken"), headers.get(TOKEN_HEADER)))
    return Failed(token, cut(f"undeliverable: {_death(headers)}", REASON_LIMIT))


def _death(headers: Mapping[str, Any]) -> str:
    """Why, where and how often RabbitMQ dead-lettered a message, by the last entry of x-death."""
    if isinstance(known := headers.get(DEATH_HEADER), str):
        return known
    deaths = headers.get("x-death")
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[0], Mapping):
        return "no x-death header tells why"
    last = deaths[0]
    reason, queue, count = (last.get(name, "?") for name in ("reason", "queue", "count"))
    return f"{reason} in queue {queue}, count {count}"


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise _bad("not-utf8") from None
    except ValueError:
        raise _bad("not-json") from None
    except RecursionError:
        raise _bad("too-deep") from None
    if not isinstance(fields, dict):
        raise _bad("not-an-object")
    return fields


def _no_number(constant: str) -> NoReturn:
    raise ValueError(constant)


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
    except RecursionError:
        raise _bad("too-deep") from None


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


def _ascii(fields: Mapping[str, object]) -> bytes:
    """A body of ours: escaped, for UTF-8 has no lone surrogates."""
    return _json(fields, ascii_only=True).encode("ascii")


# --- replies published again -------------------------------------------------------------------


def dead_letter(
    queue: str, body: bytes, properties: Mapping[str, Any], code: str, detail: str
) -> Message:
    """A reply that can never be accepted, as it came, with the reason in two headers."""
    kept, left_out = _within_limit(_own_headers(properties))
    if UNDECODABLE_HEADERS in properties.get("headers", ()):
        left_out = ["all, as they cannot be decoded"]
    if left_out:
        detail += f"; headers left out: {', '.join(left_out)}"
    reason = {ERROR_HEADER: code, DETAIL_HEADER: cut(_encodable(detail), DETAIL_LIMIT)}
    return _again(queue, body, properties, {**kept, **reason})


def to_the_tail(queue: str, body: bytes, properties: Mapping[str, Any]) -> Message:
    """A reply that SWF cannot take now, to be published behind those that wait in the queue.

    Or a task message that was dead-lettered: then it goes on saying why.
    """
    kept, _ = _within_limit(_own_headers(properties))
    headers = properties.get("headers") or {}
    if "x-death" in headers and properties.get("type") == TASK_TYPE:
        kept[DEATH_HEADER] = _encodable(_death(headers))
    return _again(queue, body, properties, kept)


def _again(
    queue: str, body: bytes, properties: Mapping[str, Any], headers: Mapping[str, Any]
) -> Message:
    # A user_id must be the publisher's own, and an expiration would let the reply vanish.
    kept = {k: v for k, v in properties.items() if k not in ("user_id", "expiration", "headers")}
    return Message("", queue, body, {**kept, "headers": dict(headers), "delivery_mode": PERSISTENT})


def _own_headers(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that the worker set and that may be sent again.

    CC and BCC would send copies elsewhere; RabbitMQ before 4.0 drops what bears its own x-death.
    """
    headers = properties.get("headers") or {}
    return {
        name: value
        for name, value in headers.items()
        if name not in ("CC", "BCC", UNDECODABLE_HEADERS) and not _DEATH.match(_readable(name))
    }


def _within_limit(headers: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """``headers`` without the largest, as many as it takes; and the names of these."""
    sizes = {name: _size(name) + _size(value) for name, value in headers.items()}
    total = sum(sizes.values())
    left_out = []
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= HEADERS_LIMIT:
            break
        total -= sizes.pop(name)
        left_out.append(_readable(name))
    return {name: headers[name] for name in sizes}, left_out


def _readable(name: str | bytes) -> str:
    """A header's name; pika leaves one that is not UTF-8 in bytes."""
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


def _size(value: object) -> int:
    """About the bytes that a header's value takes on the wire."""
    if isinstance(value, str):
        return 5 + len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return 5 + len(value)
    if isinstance(value, Mapping):
        return 5 + sum(_size(name) + _size(inner) for name, inner in value.items())
    if isinstance(value, list | tuple):
        return 5 + sum(map(_size, value))
    return 9


# --- between instances -------------------------------------------------------------------------


def notice(what: str, task_ids: Sequence[str], sender: str, *, exchange: str) -> Message:
    """A word to the other instances about tasks that the sender does not hold."""
    body = _ascii({"notice": what, "tasks": task_ids, "from": sender})
    return Message(exchange, "", body, _properties(NOTICE_TYPE, task_ids[0]), mandatory=False)


def decode_notice(body: bytes) -> tuple[str, list[str], str]:
    """What, of which tasks, from which instance; nothing of no task where it is no notice."""
    try:
        fields = json.loads(body)
        what, task_ids, sender = fields["notice"], fields["tasks"], fields["from"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "", [], ""
    if not isinstance(task_ids, list) or not all(map(_is_task_id, task_ids)):
        return "", [], ""
    return str(what), task_ids, str(sender)


def _is_task_id(value: object) -> bool:
    return isinstance(value, str) and _TASK_ID.fullmatch(value) is not None

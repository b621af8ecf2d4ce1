"""Messages to workers: tasks, heartbeat answers, cancellations (contract §§2 and 3). Pure."""

import math
from collections.abc import Mapping
from typing import Any

from bridge.bounds import decode_json
from bridge.message.message import (
    APP_ID,
    DEADLINE_HEADER,
    TOKEN_HEADER,
    Message,
    encodable_headers,
    encode_json,
    properties_of,
)
from bridge.task import ActivityTask

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

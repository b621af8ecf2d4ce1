"""Decodes task messages that RabbitMQ dead-lettered into task failures (contract §2). Pure."""

from collections.abc import Mapping
from typing import Any

from bridge.errors import BadReply
from bridge.message.message import DEADLINE_HEADER, DEATH_HEADER, TOKEN_HEADER
from bridge.message.replies import first_of, name_token, object_of, token_in
from bridge.task import REASON_LIMIT, Failed, cut


def decode_undeliverable(body: bytes, headers: Mapping[str, Any]) -> Failed:
    """The failure to report for a dead-lettered task message, with RabbitMQ's reason.

    Raises BadReply for a message that names no task.
    """
    try:
        fields = object_of(body) if body else {}
    except BadReply as error:
        name_token(error, body, headers)
        raise
    token = token_in(first_of(fields.get("taskToken"), headers.get(TOKEN_HEADER)))
    return Failed(token, cut(f"undeliverable: {why_dead_lettered(headers)}", REASON_LIMIT))


def is_expired(headers: Mapping[str, Any]) -> bool:
    """Whether RabbitMQ dead-lettered a message because its TTL was over."""
    return why_dead_lettered(headers).startswith("expired in queue ")


def deadline_of(headers: Mapping[str, Any]) -> float | None:
    """The ``swf-deadline`` header in seconds since the epoch by SWF's clock, if it is there."""
    told = headers.get(DEADLINE_HEADER)
    return told / 1000 if isinstance(told, int) and not isinstance(told, bool) else None


def why_dead_lettered(headers: Mapping[str, Any]) -> str:
    """Why, where and how often a message was dead-lettered, from the newest x-death entry."""
    if isinstance(known := headers.get(DEATH_HEADER), str):
        return known
    deaths = headers.get("x-death")
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[0], Mapping):
        return "no x-death header tells why"
    last = deaths[0]
    reason, queue, count = (last.get(name, "?") for name in ("reason", "queue", "count"))
    return f"{reason} in queue {queue}, count {count}"

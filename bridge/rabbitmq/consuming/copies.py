"""Builds copies of delivered messages: dead letters, and copies for the tail of the queue. Pure.

The body is copied byte for byte. Properties and headers are copied unless they cannot be sent again
or would do harm (contract §3).
"""

from collections.abc import Mapping
from typing import Any

from bridge.message.message import (
    CUT_HEADER,
    DEATH_HEADER,
    DETAIL_HEADER,
    ERROR_HEADER,
    PERSISTENT,
    TASK_TYPE,
    UNDECODABLE_HEADERS,
    Message,
    encodable,
)
from bridge.message.undeliverable import why_dead_lettered
from bridge.task import cut

DETAIL_LIMIT = 1024
HEADERS_LIMIT = 64 * 1024
"""Maximum bytes of a copy's headers. RabbitMQ ends the connection over a frame above 128 KiB."""


def dead_letter(
    queue: str, body: bytes, properties: Mapping[str, Any], code: str, detail: str
) -> Message:
    """A copy of a bad reply for the dead-letter ``queue``, with the reason in two headers."""
    kept, left_out = _within_limit(_own_headers(properties))
    if UNDECODABLE_HEADERS in properties.get("headers", ()):
        left_out = ["all, as they cannot be decoded"]
    whole = kept.get(CUT_HEADER)
    if isinstance(whole, int) and whole > len(body):
        detail += f"; only the first {len(body)} bytes of the body are kept"
    if left_out:
        detail += f"; headers left out: {', '.join(left_out)}"
    reason = {ERROR_HEADER: code, DETAIL_HEADER: cut(encodable(detail), DETAIL_LIMIT)}
    return _again(queue, body, properties, {**kept, **reason})


def to_the_tail(queue: str, body: bytes, properties: Mapping[str, Any]) -> Message:
    """A copy of a reply that SWF cannot take now, to be published to the tail of ``queue``.

    The copy of a dead-lettered task message keeps RabbitMQ's reason in DEATH_HEADER.
    """
    kept, _ = _within_limit(_own_headers(properties))
    headers = properties.get("headers") or {}
    if "x-death" in headers and properties.get("type") == TASK_TYPE:
        kept[DEATH_HEADER] = encodable(why_dead_lettered(headers))
    return _again(queue, body, properties, kept)


def _again(
    queue: str, body: bytes, properties: Mapping[str, Any], headers: Mapping[str, Any]
) -> Message:
    # RabbitMQ refuses a user_id that is not ours, and would drop the copy after its expiration.
    kept = {k: v for k, v in properties.items() if k not in ("user_id", "expiration", "headers")}
    return Message("", queue, body, {**kept, "headers": dict(headers), "delivery_mode": PERSISTENT})


def _own_headers(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The worker's headers that may be sent again.

    CC and BCC would route copies elsewhere; RabbitMQ before 4.0 may drop messages with x-death.
    """
    headers = properties.get("headers") or {}
    return {
        name: value
        for name, value in headers.items()
        if name not in ("CC", "BCC", UNDECODABLE_HEADERS) and not _is_death(_readable(name))
    }


def _is_death(name: str) -> bool:
    return name.startswith("x-") and "death" in name


def _within_limit(headers: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The headers without the largest, within HEADERS_LIMIT; and the names left out."""
    sizes = {name: size(name) + size(value) for name, value in headers.items()}
    total = sum(sizes.values())
    left_out = []
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= HEADERS_LIMIT:
            break
        total -= sizes.pop(name)
        left_out.append(_readable(name))
    return {name: headers[name] for name in sizes}, left_out


def _readable(name: str | bytes) -> str:
    """A header's name as text. pika returns bytes for a name that is not UTF-8."""
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


def size(value: object) -> int:
    """The approximate bytes of a header's value in a frame."""
    if isinstance(value, str):
        return 5 + len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return 5 + len(value)
    if isinstance(value, Mapping):
        return 5 + sum(size(name) + size(inner) for name, inner in value.items())
    if isinstance(value, list | tuple):
        return 5 + sum(map(size, value))
    return 9

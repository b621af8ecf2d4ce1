"""One AMQP message of the wire contract: properties, headers and a JSON body. Pure.

Properties have the names of AMQP 0-9-1; ``headers`` is one of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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


def compact_json(value: object, *, ascii_only: bool = False) -> str:
    """The value as JSON without white space. Raises ValueError for NaN and infinities."""
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"), allow_nan=False)


def encode_json(fields: Mapping[str, object]) -> bytes:
    """A message body: JSON escaped to ASCII, because UTF-8 cannot encode lone surrogates."""
    return compact_json(fields, ascii_only=True).encode("ascii")

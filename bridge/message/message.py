"""One AMQP message of the wire contract: properties, headers, and JSON as a body. Pure.

Properties bear the names of AMQP 0-9-1; ``headers`` is one of them.
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
"""Why a task message was dead-lettered, once it waits for SWF at the tail of the queue."""

CUT_HEADER = "swf-bridge-cut"
"""The bytes that a body had whose end was left out when it came."""

UNDECODABLE_HEADERS = "swf-bridge-undecodable-headers"
"""Stands for a message's headers where they cannot be decoded; it is never sent."""


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


def encodable_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, each value as ``encodable``."""
    return {name: encodable(value) for name, value in headers.items()}


def compact_json(value: object, *, ascii_only: bool = False) -> str:
    """The value without blanks. Raises ValueError for NaN and the infinities."""
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"), allow_nan=False)


def encode_json(fields: Mapping[str, object]) -> bytes:
    """A body of ours: escaped, for UTF-8 has no lone surrogates."""
    return compact_json(fields, ascii_only=True).encode("ascii")

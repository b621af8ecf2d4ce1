"""A dead letter: its id, its summary for operators, and the reply inside it. Pure."""

import hashlib
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.control.request import Json, Request
from bridge.errors import BadReply, Declined, Rejected
from bridge.message.message import (
    ATTEMPT_HEADER,
    DETAIL_HEADER,
    ERROR_AT_HEADER,
    ERROR_HEADER,
    TOKEN_HEADER,
    Message,
)
from bridge.message.replies import decode_reply
from bridge.rabbitmq.consuming.copies import DETAIL_LIMIT, to_the_tail
from bridge.task import task_id
from bridge.telemetry.redact import redact

ID_DIGITS = 12
SHORTEST_ID = 6
"""The fewest digits of an id that a command accepts; a shorter decimal number is a position."""
CODE_SHOWN = 64
_DELIVERIES_HEADER = "x-delivery-count"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of the dead-letter queue, as RabbitMQ delivered it."""

    position: int
    tag: int
    body: bytes = field(repr=False)
    properties: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        """A hash of body, ``message_id`` and ``correlation_id``; equal dead letters share it."""
        names = [str(self.properties.get(name)) for name in ("message_id", "correlation_id")]
        digest = hashlib.sha256("\0".join(names).encode("utf-8", "backslashreplace"))
        digest.update(b"\0" + self.body)
        return digest.hexdigest()[:ID_DIGITS]

    @property
    def code(self) -> str:
        """The error code from its header: a key of ``DEAD_LETTER_CODES`` if the bridge set it."""
        return str(self.properties["headers"].get(ERROR_HEADER, ""))[:CODE_SHOWN]

    @property
    def sent_at(self) -> float | None:
        """The worker's ``timestamp`` in seconds since the epoch; None where it set none."""
        stamp = self.properties.get("timestamp")
        if not isinstance(stamp, int | float) or stamp <= 0:
            return None
        return stamp / 1000 if stamp > 1e11 else float(stamp)  # some workers set milliseconds

    @property
    def put_at(self) -> float | None:
        """When it was dead-lettered, in seconds since the epoch; None where no header says so."""
        stamp = self.properties["headers"].get(ERROR_AT_HEADER)
        return float(stamp) if isinstance(stamp, int | float) and stamp > 0 else None

    @property
    def since(self) -> float | None:
        """The start of its age: when the worker sent it, else when it was dead-lettered."""
        return self.sent_at or self.put_at

    @property
    def task(self) -> str:
        """The id of the task that the reply names; empty where it names none."""
        headers = self.properties["headers"]
        try:
            return decode_reply(self.body, headers).task
        except Rejected as error:
            return task_id(error.token)
        except BadReply:
            token = headers.get(TOKEN_HEADER)
            return task_id(token) if isinstance(token, str) else ""

    def summary(self) -> Json:
        """The row of ``dead list``: everything except body and headers."""
        headers, since = self.properties["headers"], self.since
        deliveries = headers.get(_DELIVERIES_HEADER)
        return {
            "position": self.position,
            "id": self.id,
            "code": self.code,
            "detail": redact(str(headers.get(DETAIL_HEADER, ""))[:DETAIL_LIMIT]),
            "task": self.task,
            "putAt": self.put_at,
            "sentAt": self.sent_at,
            "age": None if since is None else round(max(0.0, time.time() - since), 1),
            "messageId": _named(self.properties.get("message_id")),
            "correlationId": _named(self.properties.get("correlation_id")),
            "size": len(self.body),
            "deliveries": int(deliveries) if isinstance(deliveries, int) else 0,
        }

    def whole(self) -> Json:
        """Body and headers, for ``--payload``; a body that is not UTF-8 is in base64."""
        try:
            body = {"body": self.body.decode()}
        except UnicodeDecodeError:
            body = {"bodyBase64": b64encode(self.body).decode()}
        headers = {str(name): _shown(each) for name, each in self.properties["headers"].items()}
        return {**body, "headers": headers}

    def reply(self, queue: str) -> Message:
        """The reply for ``queue``, without the headers that the bridge or RabbitMQ added."""
        ours = (
            ERROR_HEADER,
            DETAIL_HEADER,
            ERROR_AT_HEADER,
            ATTEMPT_HEADER,
            _DELIVERIES_HEADER,
        )
        headers = {k: v for k, v in self.properties["headers"].items() if k not in ours}
        return to_the_tail(queue, self.body, {**self.properties, "headers": headers})


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects dead letters; a field that is empty or None restricts nothing."""

    ids: tuple[str, ...] = ()
    code: str = ""
    sent_before: float | None = None

    @classmethod
    def of(cls, request: Request) -> "DeadLetterFilter":
        """Read the filter from a request. Raises Declined."""
        age = request.seconds("older_than")
        ids = request.texts("ids")
        for each in ids:
            if len(each) < SHORTEST_ID:
                raise Declined("usage", f"{each}: an id is its first {SHORTEST_ID} digits or more")
        return cls(ids, request.text("code"), None if age is None else time.time() - age)

    def __call__(self, dead_letter: DeadLetter) -> bool:
        """Whether it is selected. ``sent_before`` never selects a dead letter without a time."""
        since = dead_letter.since
        return (
            self.code in ("", dead_letter.code)
            and (not self.ids or dead_letter.id.startswith(self.ids))
            and (self.sent_before is None or (since is not None and since <= self.sent_before))
        )


def _named(value: object) -> str | None:
    return None if value is None else redact(str(value))


def _shown(value: object) -> object:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)

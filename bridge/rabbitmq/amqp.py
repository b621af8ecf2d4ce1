"""Between pika and plain values: addresses, properties, and what an error of pika means."""

import os
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorPhaseErrorBase,
    AMQPConnectorStackTimeout,
)
from pika.channel import Channel, ContentFrameAssembler
from pika.credentials import ExternalCredentials
from pika.exceptions import (
    AMQPConnectionError,
    AuthenticationError,
    ChannelClosed,
    ChannelClosedByBroker,
    ChannelWrongStateError,
    ConnectionClosed,
    ConnectionClosedByBroker,
    ConnectionWrongStateError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)
from pika.spec import BasicProperties

from bridge.message.message import CUT_HEADER, Message
from bridge.message.tasks import expiration

__all__ = ["Channel", "ChannelClosedByBroker", "ConnectionClosedByBroker", "IOLoop"]

WRONG_STATE = (ChannelWrongStateError, ConnectionWrongStateError)
"""What pika raises over what is asked of a channel or connection that is being closed."""

HEARTBEAT = 8
"""Seconds: RabbitMQ, which sends one every half of that, closes a connection that is silent for
twice as long. What is silent here is noticed by SILENCE (connection.py)."""

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes of a body that are kept of what is consumed, as much as RabbitMQ 4 lets a message have.
RabbitMQ 3 lets it have eight times that."""

_JOINED = 3
"""Frames of a message that are written as one: method, header, and a body of up to 128 KiB."""

_PROPERTIES = tuple(name for name in vars(BasicProperties()) if not name.startswith("_"))


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for ``amqps``: whom to trust, and with which certificate to log in."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def parameters(url: str, tls: Tls, name: str, ip: str = "") -> pika.URLParameters:
    """How to connect to ``url``, at one address of its host where ``ip`` is given.

    ``name`` is what operators see of the connection.
    """
    found = pika.URLParameters(url)
    found.heartbeat = HEARTBEAT
    found.connection_attempts = 1
    found.socket_timeout = found.stack_timeout = 10
    found.blocked_connection_timeout = None  # what is sent while blocked cannot be recalled
    found.tcp_options = {
        "TCP_USER_TIMEOUT": 20_000,
        "TCP_KEEPIDLE": 10,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 3,
    }
    found.client_properties = {
        "connection_name": f"swf-bridge {name} {socket.gethostname()}:{os.getpid()}"
    }
    if url.startswith("amqps:"):
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
        found.ssl_options = pika.SSLOptions(context, found.host)
        if tls.cert is not None and "@" not in url.split("/")[2]:
            found.credentials = ExternalCredentials()
    found.host = ip or found.host  # the certificate is still held against the name
    return found


class SelectConnection(pika.SelectConnection):
    """pika's, but the frames of a message are written with one system call, not three.

    Not where it has more: of what the socket does not take at once pika copies all that is left.
    """

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        if len(marshaled_frames) <= _JOINED:
            marshaled_frames = [b"".join(marshaled_frames)]
        super()._output_marshaled_frames(marshaled_frames)  # type: ignore[misc]


class _Bodies(ContentFrameAssembler):
    """pika's, but of a body over BODY_LIMIT only the beginning is kept, and CUT_HEADER tells."""

    _seen_so_far: int
    _body_fragments: list[bytes]

    def _handle_body_frame(self, body_frame: Any) -> Any:
        beyond = self._seen_so_far >= BODY_LIMIT
        content = super()._handle_body_frame(body_frame)  # type: ignore[misc]
        if beyond and content is None:
            self._body_fragments.pop()
        return content

    def _finish(self) -> Any:
        method, header, body = super()._finish()  # type: ignore[misc]
        if header.body_size > BODY_LIMIT:
            properties: Any = header.properties
            properties.headers = {**(properties.headers or {}), CUT_HEADER: header.body_size}
            body = body[:BODY_LIMIT]
        return method, header, body


def limit_bodies(channel: Any) -> None:
    """Keep of each body that comes on the channel no more than BODY_LIMIT."""
    channel._content_assembler = _Bodies()


def to_pika(message: Message, attempt: str, header: str) -> BasicProperties:
    """The properties of ``message`` with one header more, which names this attempt.

    They say how long it is to wait in a queue from now on, where its time is limited.
    """
    given = dict(message.properties)
    if message.until is not None:
        given["expiration"] = expiration(max(0.0, message.until - time.monotonic()))
    given["headers"] = {**(given.get("headers") or {}), header: attempt}
    return BasicProperties(**given)


def from_pika(properties: BasicProperties) -> dict[str, Any]:
    """The properties that are set, by their names in AMQP; headers are always there."""
    given = {name: getattr(properties, name) for name in _PROPERTIES}
    return {**{k: v for k, v in given.items() if v is not None}, "headers": given["headers"] or {}}


def cause(error: BaseException) -> str:
    """What went wrong, from the bottom of the errors that pika wraps around it; one line."""
    *_, error = _layers(error)
    match error:
        case ConnectionClosed() | ChannelClosed():
            text = f"{error.reply_code} {error.reply_text}"
        case AMQPConnectorStackTimeout():
            text = "no answer within the time to connect"
        case ssl.SSLError():
            text = str(error).rpartition(" (_ssl.c")[0] or str(error)
        case OSError():
            text = error.strerror or str(error)
        case _:
            text = str(error)
    return " ".join(text.split()) or type(error).__name__


_FORCED = 320
_TURNED_AWAY = (403, 530)


def turned_away(error: BaseException) -> bool:
    """Whether the broker is there and a person must mend a login, a vhost, or a certificate."""
    wrong = (
        AuthenticationError,
        ProbableAccessDeniedError,
        ProbableAuthenticationError,
        ssl.SSLCertVerificationError,
    )
    return any(
        isinstance(each, wrong)
        or (isinstance(each, ConnectionClosedByBroker) and each.reply_code in _TURNED_AWAY)
        for each in _layers(error)
    )


def closed_over(error: BaseException | None) -> str:
    """RabbitMQ's own words where it closed channel or connection over a message, else nothing.

    A worker can bring about both: a header frame too large, a malformed direct reply-to.
    """
    match error:
        case ChannelClosedByBroker() | ConnectionClosedByBroker() if error.reply_code != _FORCED:
            return f"{error.reply_code} {error.reply_text}"
    return ""


_STRICT = (
    "Missing Authority Key",
    "Missing Subject Key",
    "Basic Constraints",
    "key usage",
    "keyCertSign",
)


def certificates_lack(error: BaseException) -> str:
    """What to do about certificates that Python from 3.13 on refuses; nothing for other errors.

    It asks for what RFC 5280 demands (VERIFY_X509_STRICT), which authorities made by hand lack.
    """
    for each in _layers(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            lack = each.verify_message
            if any(word in lack for word in _STRICT):
                return (
                    f"the certificates lack what RFC 5280 demands, and Python from 3.13 on with it"
                    f" ({lack}): issue them anew, the authority's with subjectKeyIdentifier,"
                    " critical basicConstraints and keyUsage keyCertSign, the server's with"
                    " authorityKeyIdentifier"
                )
    return ""


def _layers(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what pika has wrapped it around, down to the bottom."""
    while error is not None:
        yield error
        error = _wrapped(error)


def _wrapped(error: BaseException) -> BaseException | None:
    match error:
        case AMQPConnectionWorkflowFailed():
            found = error.exceptions[-1]
        case AMQPConnectorPhaseErrorBase():
            found = error.exception
        case AMQPConnectionError(args=(inner,)):
            found = inner
        case _:
            return None
    return found if isinstance(found, BaseException) else None

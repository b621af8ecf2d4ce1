"""Translates between pika and plain values: connection parameters, properties, errors."""

import ast
import os
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
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
    InvalidFrameError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)
from pika.frame import decode_frame
from pika.spec import BasicProperties

from bridge.message.message import CUT_HEADER, Message, expiration

__all__ = ["Channel", "ChannelClosedByBroker", "ConnectionClosedByBroker", "IOLoop"]

WRONG_STATE = (ChannelWrongStateError, ConnectionWrongStateError)
"""What pika raises for a request on a channel or connection that is closed or closing."""

HEARTBEAT = 8
"""Seconds. RabbitMQ sends a heartbeat every half of that, and closes a connection on which nothing
came from us for twice as long. We detect a silent RabbitMQ by SILENCE (nodes.py)."""

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes that are kept of a consumed body. This is RabbitMQ 4's default limit for a message;
RabbitMQ 3 allows eight times as many."""

_JOINED = 3
"""Frames of a message that are written at once: method, header, and a body up to 128 KiB."""

_READ = 64 * 1024
"""Bytes read from the socket at once. pika reads 4 KiB."""
_FRAME = struct.Struct(">BHL")
"""What a frame begins with: type, channel, and the size of what follows, without the end mark."""
_FRAME_TYPES = (1, 2, 3, 8)
_PROTOCOL_HEADER = 8
"""Bytes of the header that RabbitMQ sends, in place of a frame, to refuse our protocol."""

_PROPERTIES = tuple(name for name in vars(BasicProperties()) if not name.startswith("_"))


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for ``amqps``: the trusted authorities, and our own certificate and key."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def parameters(url: str, tls: Tls, name: str, ip: str = "") -> pika.URLParameters:
    """Build the parameters for a connection to ``url``, at the address ``ip`` if it is given.

    RabbitMQ shows ``name`` to operators as a part of the connection's name.
    """
    found = pika.URLParameters(url)
    found.heartbeat = HEARTBEAT
    found.connection_attempts = 1
    found.socket_timeout = found.stack_timeout = 10
    found.blocked_connection_timeout = None  # messages sent while blocked cannot be recalled
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
    found.host = ip or found.host  # the certificate is still checked against the name
    return found


class SelectConnection(pika.SelectConnection):
    """Like pika's, but with fewer system calls and copies.

    A message of up to three frames is written at once. Larger messages are not joined: pika copies
    the whole rest after each partial write. More is read at once, and each byte is copied once to
    be decoded; pika copies all that is buffered for each read and again for each frame.
    """

    bytes_received: int
    _process_frame: Callable[[Any], None]
    _unread: list[bytes]
    """What was received and not decoded: the beginning of a frame."""
    _lacks = 0
    """Bytes to be received before the next frame can be decoded."""

    def _init_connection_state(self) -> None:
        super()._init_connection_state()  # type: ignore[misc]
        self._unread = []
        self._lacks = 0

    def _proto_connection_made(self, transport: Any) -> None:
        transport._MAX_RECV_BYTES = _READ
        super()._proto_connection_made(transport)  # type: ignore[misc]

    def _on_data_available(self, data_in: bytes) -> None:
        self._unread.append(data_in)
        self._lacks -= len(data_in)
        if self._lacks > 0:
            return
        buffer = b"".join(self._unread)
        start = 0
        while (end := _frame_end(buffer, start)) <= len(buffer):
            _, frame = decode_frame(buffer[start:end])
            self.bytes_received += end - start
            start = end
            self._process_frame(frame)
        self._unread = [buffer[start:]]
        self._lacks = end - len(buffer)

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        if len(marshaled_frames) <= _JOINED:
            marshaled_frames = [b"".join(marshaled_frames)]
        super()._output_marshaled_frames(marshaled_frames)  # type: ignore[misc]


def _frame_end(buffer: bytes, start: int) -> int:
    """Where the frame that begins at ``start`` ends, or its header while that is not complete.

    Raises InvalidFrameError if there is no frame.
    """
    if len(buffer) < start + _FRAME.size:
        return start + _PROTOCOL_HEADER  # every frame has as many bytes
    kind, _, size = _FRAME.unpack_from(buffer, start)
    if kind not in _FRAME_TYPES:
        if buffer.startswith(b"AMQP", start):
            return start + _PROTOCOL_HEADER
        raise InvalidFrameError(f"unknown frame type: {kind}")
    return start + _FRAME.size + int(size) + 1


class _Bodies(ContentFrameAssembler):
    """Like pika's, but a body over BODY_LIMIT is cut, and CUT_HEADER gives its full size."""

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
        elif header.body_size < BODY_LIMIT and header.properties.headers:
            # It is a lie of the sender: what was cut, and published again, has all these bytes.
            header.properties.headers.pop(CUT_HEADER, None)
        return method, header, body


def limit_bodies(channel: Any) -> None:
    """Cut each body that is delivered on the channel to BODY_LIMIT."""
    channel._content_assembler = _Bodies()


def to_pika(message: Message, attempt: str, header: str) -> BasicProperties:
    """The properties of ``message`` for pika, with the header that names this ``attempt``.

    If the message has a time limit, ``expiration`` is set to what is left of it.
    """
    given = dict(message.properties)
    if message.until is not None:
        given["expiration"] = expiration(max(0.0, message.until - time.monotonic()))
    given["headers"] = {**(given.get("headers") or {}), header: attempt}
    return BasicProperties(**given)


def from_pika(properties: BasicProperties) -> dict[str, Any]:
    """The properties that are set, by their AMQP names. ``headers`` is always included."""
    given = {name: getattr(properties, name) for name in _PROPERTIES}
    return {**{k: v for k, v in given.items() if v is not None}, "headers": given["headers"] or {}}


def cause(error: BaseException) -> str:
    """The text of the innermost error that pika has wrapped, on one line."""
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
            text = _unquoted(str(error))
    return " ".join(text.split()) or type(error).__name__


_REPR = re.compile(r"ConnectionClosedByBroker: \((\d+)\) (.+)")
"""How pika writes what RabbitMQ said into the text of another error; the end is a literal."""


def _unquoted(text: str) -> str:
    """RabbitMQ's code and words, if that is how the text holds them."""
    if (found := _REPR.fullmatch(text)) is None:
        return text
    try:
        return f"{found[1]} {ast.literal_eval(found[2])}"
    except (SyntaxError, ValueError):
        return text


_LIMIT = re.compile(r"connection limit \(\d+\) is reached|has reached the maximum allowed")
"""What RabbitMQ says of its limits on connections and channels, of a virtual host, user or node."""


_FORCED = 320
_TURNED_AWAY = (403, 530)


class Refusal(Enum):
    """Why RabbitMQ was reached and did not let us in: an operator must act."""

    LOGIN = "login, virtual host or certificate"
    LIMIT = "a limit on connections or channels"


def refusal(error: BaseException | None) -> Refusal | None:
    """How RabbitMQ refused a connection; None if it could not be reached, or had let us in."""
    wrong = (
        AuthenticationError,
        ProbableAccessDeniedError,
        ProbableAuthenticationError,
        ssl.SSLCertVerificationError,
    )
    refused = any(
        isinstance(each, wrong)
        or (isinstance(each, ConnectionClosedByBroker) and each.reply_code in _TURNED_AWAY)
        for each in _layers(error)
    )
    if error is None or not refused:
        return None
    return Refusal.LIMIT if _LIMIT.search(cause(error)) else Refusal.LOGIN


def closed_over(error: BaseException | None) -> str:
    """RabbitMQ's reason for closing a channel or connection over a message; else empty.

    A worker can cause this by headers that do not fit in a frame or a malformed direct reply-to.
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
    """Advice for certificates that Python 3.13 and later refuse; empty for other errors.

    Python checks them against RFC 5280 (VERIFY_X509_STRICT); self-made authorities often fail.
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
    """The error, then each error that pika has wrapped in it, the innermost last."""
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

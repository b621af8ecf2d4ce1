"""Between pika and plain values: addresses, properties, and tables that bear what workers send."""

import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pika
import pika.data
from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorPhaseErrorBase,
    AMQPConnectorStackTimeout,
)
from pika.credentials import ExternalCredentials
from pika.exceptions import (
    AMQPConnectionError,
    AuthenticationError,
    ChannelClosed,
    ConnectionClosed,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)
from pika.spec import BasicProperties

from bridge.message import UNDECODABLE_HEADERS, Message

HEARTBEAT = 15
"""Seconds. A peer that died is noticed within twice (heartbeat + 5)."""

_PROPERTIES = tuple(name for name in vars(BasicProperties()) if not name.startswith("_"))


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for ``amqps``: whom to trust, and with which certificate to log in."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def parameters(url: str, tls: Tls, name: str) -> pika.URLParameters:
    """How to connect to ``url``; ``name`` is what operators see of the connection."""
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
    return found


class SelectConnection(pika.SelectConnection):
    """pika's, but the frames of a message are written with one system call, not three."""

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        super()._output_marshaled_frames([b"".join(marshaled_frames)])  # type: ignore[misc]


def to_pika(message: Message, attempt: str, header: str) -> BasicProperties:
    """The properties of ``message`` with one header more, which names this attempt."""
    given = dict(message.properties)
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


# --- pika's tables --------------------------------------------------------------------------------

DEPTH = 50
"""Tables and arrays within each other: what is deeper counts as not decodable, for it may not be
possible to send it again."""


class _Decoding(threading.local):
    depth = 0


_decoding = _Decoding()


def _decode_table(encoded: bytes, offset: int) -> tuple[dict[Any, Any], int]:
    """pika's, but a table that it cannot decode is skipped as a whole.

    Years past 9999 (a worker that sends milliseconds) and deep nesting raise inside of pika, which
    then reconnects and receives the same message for ever (pika #1698).
    """
    if _decoding.depth:
        return _deeper(_decode_names, encoded, offset)
    (size,) = struct.unpack_from(">I", encoded, offset)
    end = offset + 4 + size
    try:
        table, reached = _deeper(_decode_names, encoded, offset)
    except Exception as error:  # noqa: BLE001 - whatever it is, the message must pass
        return {UNDECODABLE_HEADERS: type(error).__name__}, end
    return (table if reached == end else {UNDECODABLE_HEADERS: "longer than it says"}), end


def _decode_names(encoded: bytes, offset: int) -> tuple[dict[Any, Any], int]:
    """pika's, but a name that is not UTF-8, which it hands on as bytes, raises."""
    table, end = _pika_decode_table(encoded, offset)
    if not all(isinstance(name, str) for name in table):
        raise UnicodeError
    return table, end


def _decode_value(encoded: bytes, offset: int) -> tuple[Any, int]:
    """pika's, but fractions stay fractions."""
    match encoded[offset : offset + 1]:
        case b"d":
            return struct.unpack_from(">d", encoded, offset + 1)[0], offset + 9
        case b"f":
            return struct.unpack_from(">f", encoded, offset + 1)[0], offset + 5
        case b"A":
            return _deeper(_pika_decode_value, encoded, offset)
    return _pika_decode_value(encoded, offset)


def _deeper(
    decode: Callable[[bytes, int], tuple[Any, int]], encoded: bytes, offset: int
) -> tuple[Any, int]:
    if _decoding.depth == DEPTH:
        raise RecursionError
    _decoding.depth += 1
    try:
        return decode(encoded, offset)
    finally:
        _decoding.depth -= 1


def _encode_value(pieces: list[bytes], value: Any) -> int:
    """pika's, and fractions, which it refuses."""
    if isinstance(value, float):
        pieces.append(struct.pack(">cd", b"d", value))
        return 9
    return _pika_encode_value(pieces, value)


def _encode_table(pieces: list[bytes], table: Any) -> int:
    """pika's, but a table of nothing but text, as each task has one, is encoded in one go."""
    if not table or not all(type(value) is str for value in table.values()):
        return _pika_encode_table(pieces, table)
    texts = [(_text_name(name), value.encode()) for name, value in table.items()]
    encoded = b"".join([piece for name, text in texts for piece in (name, _size(len(text)), text)])
    pieces += (_size(len(encoded)), encoded)
    return 4 + len(encoded)


@lru_cache(256)
def _text_name(name: str) -> bytes:
    """The name of a field and the type of text, as they stand before it."""
    pieces: list[bytes] = []
    pika.data.encode_short_string(pieces, name)
    return b"".join([*pieces, b"S"])


_size = struct.Struct(">I").pack
_pika_decode_table = pika.data.decode_table
_pika_decode_value = pika.data.decode_value
_pika_encode_value = pika.data.encode_value
_pika_encode_table = pika.data.encode_table
pika.data.decode_table = _decode_table
pika.data.decode_value = _decode_value
pika.data.encode_value = _encode_value
pika.data.encode_table = _encode_table

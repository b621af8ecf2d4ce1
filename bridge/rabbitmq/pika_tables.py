"""Replaces pika's coding of AMQP tables, so that no header of a worker can break the connection.

pika's decoder raises for years past 9999 (a timestamp in milliseconds), for deep nesting and for
unknown types. pika then takes the connection for broken; after a reconnect the same message comes
again, without end (pika #1698). Here a table that cannot be decoded is skipped as a whole and
replaced by the header UNDECODABLE_HEADERS.
"""

import struct
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pika.data

from bridge.message.message import UNDECODABLE_HEADERS

DEPTH = 50
"""Maximum nesting of tables and arrays: RabbitMQ may refuse a copy with deeper ones."""

VALUES = 1000
"""Maximum values in a table, with inner tables. Each takes some microseconds to decode, and a
header frame of 128 KiB holds up to 60,000 empty values."""


def install() -> None:
    """Replace pika's functions in this process by those of this module. Idempotent."""
    pika.data.decode_table = _decode_table
    pika.data.decode_value = _decode_value
    pika.data.encode_value = _encode_value
    pika.data.encode_table = _encode_table


class _Decoding(threading.local):
    """The nesting and number of values reached in this thread's outermost table."""

    depth = 0
    values = 0


_decoding = _Decoding()


class _OverBound(ValueError):
    """A table exceeds DEPTH or VALUES."""


def _decode_table(encoded: bytes, offset: int) -> tuple[dict[Any, Any], int]:
    """Decode like pika, but skip an outermost table that cannot be decoded."""
    if _decoding.depth:
        return _deeper(_decode_names, encoded, offset)
    (size,) = struct.unpack_from(">I", encoded, offset)
    end = offset + 4 + size
    _decoding.values = 0
    try:
        table, reached = _deeper(_decode_names, encoded, offset)
    except Exception as error:  # noqa: BLE001 - no error may stop the message
        return {UNDECODABLE_HEADERS: type(error).__name__}, end
    table.pop(UNDECODABLE_HEADERS, None)  # a sender's own would be taken for ours
    return (table if reached == end else {UNDECODABLE_HEADERS: "longer than it says"}), end


def _decode_names(encoded: bytes, offset: int) -> tuple[dict[Any, Any], int]:
    """Decode like pika, but raise UnicodeError for a name that is not UTF-8."""
    table, end = _pika_decode_table(encoded, offset)
    if not all(isinstance(name, str) for name in table):
        raise UnicodeError
    return table, end


def _decode_value(encoded: bytes, offset: int) -> tuple[Any, int]:
    """Decode like pika, but keep the fraction of floats, and limit the number of values."""
    _decoding.values += 1
    if _decoding.values > VALUES:
        raise _OverBound(f"more than {VALUES} values")
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
        raise _OverBound(f"deeper than {DEPTH} levels")
    _decoding.depth += 1
    try:
        return decode(encoded, offset)
    finally:
        _decoding.depth -= 1


def _encode_value(pieces: list[bytes], value: Any) -> int:
    """Encode like pika, and also floats, which pika refuses."""
    if isinstance(value, float):
        pieces.append(struct.pack(">cd", b"d", value))
        return 9
    return _pika_encode_value(pieces, value)


def _encode_table(pieces: list[bytes], table: Any) -> int:
    """Encode like pika, but faster for a table that holds only text."""
    if not table or not all(type(value) is str for value in table.values()):
        return _pika_encode_table(pieces, table)
    texts = [(_text_name(name), value.encode()) for name, value in table.items()]
    encoded = b"".join([piece for name, text in texts for piece in (name, _size(len(text)), text)])
    pieces += (_size(len(encoded)), encoded)
    return 4 + len(encoded)


@lru_cache(256)
def _text_name(name: str) -> bytes:
    """The encoded name of a text field, with the type byte that precedes its value."""
    pieces: list[bytes] = []
    pika.data.encode_short_string(pieces, name)
    return b"".join([*pieces, b"S"])


_size = struct.Struct(">I").pack
_pika_decode_table = pika.data.decode_table
_pika_decode_value = pika.data.decode_value
_pika_encode_value = pika.data.encode_value
_pika_encode_table = pika.data.encode_table

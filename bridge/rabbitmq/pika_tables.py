"""pika's tables, made to bear what workers send: ``install`` replaces pika's coding of tables.

pika raises inside its own decoder over years past 9999 (a worker that sends milliseconds), over
deep nesting and over types that it does not know. It then takes the connection for broken,
connects again and receives the same message for ever (pika #1698). Here a table that cannot be
decoded is skipped as a whole, and UNDECODABLE_HEADERS stands in its place.
"""

import struct
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pika.data

from bridge.message.message import UNDECODABLE_HEADERS

DEPTH = 50
"""Tables and arrays within each other: RabbitMQ may refuse what is deeper when it is sent again."""

VALUES = 1000
"""Values in a table, those of inner tables counted: each costs some microseconds to decode, and
a header frame of 128 KiB holds 60,000 that are empty."""


def install() -> None:
    """Have pika, in this process, code tables as this module does. May be called many times."""
    pika.data.decode_table = _decode_table
    pika.data.decode_value = _decode_value
    pika.data.encode_value = _encode_value
    pika.data.encode_table = _encode_table


class _Decoding(threading.local):
    """How far the decoding of the outermost table has come, on this thread."""

    depth = 0
    values = 0


_decoding = _Decoding()


class _OverBound(ValueError):
    """A table is deeper, or holds more values, than it may."""


def _decode_table(encoded: bytes, offset: int) -> tuple[dict[Any, Any], int]:
    """As pika's, but an outermost table that cannot be decoded is skipped as a whole."""
    if _decoding.depth:
        return _deeper(_decode_names, encoded, offset)
    (size,) = struct.unpack_from(">I", encoded, offset)
    end = offset + 4 + size
    _decoding.values = 0
    try:
        table, reached = _deeper(_decode_names, encoded, offset)
    except Exception as error:  # noqa: BLE001 - whatever it is, the message must pass
        return {UNDECODABLE_HEADERS: type(error).__name__}, end
    return (table if reached == end else {UNDECODABLE_HEADERS: "longer than it says"}), end


def _decode_names(encoded: bytes, offset: int) -> tuple[dict[Any, Any], int]:
    """As pika's, but a name that is not UTF-8, which pika hands on as bytes, raises."""
    table, end = _pika_decode_table(encoded, offset)
    if not all(isinstance(name, str) for name in table):
        raise UnicodeError
    return table, end


def _decode_value(encoded: bytes, offset: int) -> tuple[Any, int]:
    """As pika's, but fractions stay fractions, and the values are counted."""
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
    """As pika's, and fractions, which pika refuses."""
    if isinstance(value, float):
        pieces.append(struct.pack(">cd", b"d", value))
        return 9
    return _pika_encode_value(pieces, value)


def _encode_table(pieces: list[bytes], table: Any) -> int:
    """As pika's, but a table of text alone, as each task has one, is encoded in one go."""
    if not table or not all(type(value) is str for value in table.values()):
        return _pika_encode_table(pieces, table)
    texts = [(_text_name(name), value.encode()) for name, value in table.items()]
    encoded = b"".join([piece for name, text in texts for piece in (name, _size(len(text)), text)])
    pieces += (_size(len(encoded)), encoded)
    return 4 + len(encoded)


@lru_cache(256)
def _text_name(name: str) -> bytes:
    """A field's name and the type of text, as they stand before the value."""
    pieces: list[bytes] = []
    pika.data.encode_short_string(pieces, name)
    return b"".join([*pieces, b"S"])


_size = struct.Struct(">I").pack
_pika_decode_table = pika.data.decode_table
_pika_decode_value = pika.data.decode_value
_pika_encode_value = pika.data.encode_value
_pika_encode_table = pika.data.encode_table

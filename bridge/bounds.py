"""Limits on size and nesting of foreign JSON, checked before it is decoded.

Python's own decoder recurses on the C stack. What it does with deep nesting differs between
versions: RecursionError, a crash of the process, or success. So the depth is counted first, and no
code relies on RecursionError. Values are counted too: an array of a million empty objects is small
but slow to decode. Every decoder of foreign JSON uses ``decode_json``. Pure.
"""

import json
import re
from collections.abc import Collection
from itertools import accumulate
from typing import Any, NoReturn

DEPTH = 100
"""Maximum number of nested arrays and objects, including the outermost."""

SIZE = 1024 * 1024
"""Default maximum size of a document, in bytes."""

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_PIECE = 4096
"""Brackets whose levels are counted at a time, and quotation marks that are enough to judge."""
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

END = 16 * 1024
"""Bytes at the beginning and at the end of a document that ``texts_at_ends`` searches."""

_TEXT = rb'"((?:[^"\\]|\\.)*+)"'
_FIELD = re.compile(
    _TEXT + rb"\s*+:\s*+(?:" + _TEXT + rb"|[-+.0-9a-zA-Z]++)\s*+(,\s*+|\}\s*+\Z)?+", re.DOTALL
)


class OverBound(ValueError):
    """A document is over its decoder's limits of size or depth."""


class TooLarge(OverBound):
    """A document has more bytes or more values than its decoder's limit."""


class TooDeep(OverBound):
    """A document nests arrays and objects deeper than its decoder's limit."""


def decode_json(
    document: bytes | str, *, depth: int = DEPTH, size: int = SIZE, values: int | None = None
) -> Any:
    """The value of a JSON document (RFC 8259) in UTF-8, with or without a byte order mark.

    Raises TooLarge over ``size`` bytes or about ``values`` values, TooDeep over ``depth`` levels,
    UnicodeDecodeError for bytes that are not UTF-8, and ValueError (the base of all of these) for
    anything else that is not JSON, NaN and infinities included. Takes time linear in the size.
    """
    encoded = document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document
    check_json(encoded, depth=depth, size=size, values=values)
    text = document if isinstance(document, str) else document.decode("utf-8-sig")
    return json.loads(text, parse_constant=_refuse_constant)


def check_json(
    encoded: bytes, *, depth: int = DEPTH, size: int = SIZE, values: int | None = None
) -> None:
    """Raise TooLarge or TooDeep as ``decode_json`` does, for JSON that a library decodes."""
    if len(encoded) > size:
        raise TooLarge(f"{len(encoded)} bytes, over the bound of {size}")
    most = len(encoded) if values is None else values
    if _openings(encoded) <= depth and encoded.count(b",") + depth <= most:
        return
    unescaped = _unescaped(encoded)
    # JSON with more strings, names included, has over ``most`` commas and brackets.
    many = unescaped.count(b'"') > 2 * (2 * most + 1)
    bare = b"".join(unescaped.split(b'"', _PIECE + 1 if many else -1)[::2])
    many = many or _openings(bare) + bare.count(b",") > most
    if _deepest(bare, most, depth) > depth:
        raise TooDeep(f"nested deeper than {depth} levels")
    if many:
        raise TooLarge(f"more than {values} values")


def texts_at_ends(document: bytes, names: Collection[str]) -> dict[str, str]:
    """String fields called ``names``, found at the ends of an object too large to decode.

    Searches the first END bytes up to the first array or object, and the last END bytes from the
    first named field on. Fields of nested objects are not returned. If the document is not JSON,
    the result may be anything.
    """
    head, tail = document[:END].removeprefix(b"\xef\xbb\xbf").lstrip(), document[-END:]
    found: dict[str, str] = {}
    if head[:1] == b"{":
        found, _ = _fields(head, len(head) - len(head[1:].lstrip()))
    for start in sorted(tail.rfind(b'"%s"' % name.encode()) for name in names):
        fields, end = _fields(tail, start) if start >= 0 else ({}, 0)
        if end == len(tail):
            found |= fields
            break
    return {name: found[name] for name in names if name in found}


def _fields(part: bytes, start: int) -> tuple[dict[str, str], int]:
    """The string fields in an unbroken sequence of fields from ``start`` on, and its end."""
    found: dict[str, str] = {}
    while field := _FIELD.match(part, start):
        name, text, follows = field.groups()
        if text is not None:
            try:
                found[json.loads(b'"%s"' % name)] = json.loads(b'"%s"' % text)
            except ValueError:
                break
        start = field.end()
        if not follows:
            break
    return found, start


def _openings(encoded: bytes) -> int:
    return encoded.count(b"[") + encoded.count(b"{")


def _unescaped(encoded: bytes) -> bytes:
    """The document without escaped quotation marks: each that is left begins or ends a string."""
    return encoded.replace(rb"\\", b"").replace(rb"\"", b"")


def _deepest(bare: bytes, most: int, depth: int) -> int:
    """The nesting depth of the first ``most`` brackets, or one over ``depth``.

    Arbitrary if the document is not JSON.
    """
    brackets = bare.translate(None, _NOT_BRACKETS)[:most]
    level = deepest = 0
    for start in range(0, len(brackets), _PIECE):
        steps = map(_STEPS.__getitem__, brackets[start : start + _PIECE])
        levels = list(accumulate(steps, initial=level))
        level, deepest = levels[-1], max(deepest, *levels)
        if deepest > depth:
            break
    return deepest


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")

"""Bounds on bytes that others send: how large and how deep they may be before they are decoded.

Python's own decoder recurses on the C stack. What it does with deep nesting differs between
versions: RecursionError, a crash of the process, or success. So the depth is counted before it
decodes, and nothing here or elsewhere relies on RecursionError. Every decoder of foreign JSON uses
``decode_json``. Pure.
"""

import json
import re
from itertools import accumulate
from typing import Any, NoReturn

DEPTH = 100
"""Arrays and objects within each other, the outermost counted."""

SIZE = 1024 * 1024
"""Bytes of a document, where a decoder states no bound of its own."""

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class OverBound(ValueError):
    """A document is larger or deeper than its decoder takes."""


class TooLarge(OverBound):
    """A document has more bytes than its decoder takes."""


class TooDeep(OverBound):
    """A document nests arrays and objects deeper than its decoder takes."""


def decode_json(document: bytes | str, *, depth: int = DEPTH, size: int = SIZE) -> Any:
    """The value of a JSON document (RFC 8259) in UTF-8, with or without a byte order mark.

    Raises TooLarge over ``size`` bytes, TooDeep over ``depth`` levels, UnicodeDecodeError for
    bytes that are not UTF-8, and ValueError, which all of these are too, for anything else that is
    not JSON: NaN and the infinities are not. Takes time in proportion to the size.
    """
    encoded = document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document
    check_json(encoded, depth=depth, size=size)
    text = document if isinstance(document, str) else document.decode("utf-8-sig")
    return json.loads(text, parse_constant=_refuse_constant)


def check_json(encoded: bytes, *, depth: int = DEPTH, size: int = SIZE) -> None:
    """Raise TooLarge or TooDeep where ``decode_json`` would: for what a library decodes."""
    if len(encoded) > size:
        raise TooLarge(f"{len(encoded)} bytes, over the bound of {size}")
    if _deeper_than(depth, encoded):
        raise TooDeep(f"nested deeper than {depth} levels")


def _deeper_than(depth: int, encoded: bytes) -> bool:
    """Whether the document nests deeper; one that is not JSON may count as either."""
    if encoded.count(b"[") + encoded.count(b"{") <= depth:
        return False
    brackets = _STRINGS.sub(b"", encoded).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > depth


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")

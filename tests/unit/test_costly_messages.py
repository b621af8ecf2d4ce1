"""No message of a megabyte takes much longer than its decoding should, whatever it holds."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from bridge.bounds import SIZE
from bridge.errors import BadReply
from bridge.flow.settling.peers import decode_notice
from bridge.message.replies import VALUES, decode_reply

START = b'{"taskToken":"t","status":"completed","result":'
NUMBER = b"1.2345e-300"
MOST = 4
"""Times as long as Python's decoder takes for as many numbers as a reply may have."""


def filled(unit: bytes, before: bytes = START, after: bytes = b"") -> bytes:
    return before + unit * ((SIZE - len(before) - len(after)) // len(unit)) + after


def listed(*values: bytes) -> bytes:
    return START + b"[" + b",".join(values) + b"]}"


COSTLY = {
    "brackets": filled(b"[", b""),
    "empty arrays": filled(b"[],", START + b"[", b"[]]}"),
    "empty strings": filled(b'"",', START + b"["),
    "empty strings with all their ends": filled(b'"",', START + b"[", b'""]}'),
    "nested names": filled(b'{"":', b""),
    "quotation marks": filled(b'"', b""),
    "escaped quotation marks": filled(rb"\"", START + b'"', b'"}'),
    "backslashes": filled(rb"\\", START + b'"', b'"}'),
    "lone surrogates": filled(rb"\ud800", START + b'"', b'"}'),
    "characters beyond U+FFFF": filled(rb"\ud83d\ude00", START + b'"', b'"}'),
    "a long number": filled(b"1", START + b"0.", b"}"),
    "numbers": listed(*[NUMBER] * (VALUES - 10)),
    "strings": listed(*[b'"abcdefgh"'] * (VALUES - 10)),
    "objects": listed(*[b'{"a":{}}'] * (VALUES // 3 - 10)),
    "names": START + b"{%s}}" % b",".join(b'"%07d":1' % n for n in range(VALUES - 10)),
    "details that are cut": listed(*[NUMBER] * (VALUES - 10))
    .replace(b"completed", b"canceled")
    .replace(b"result", b"details"),
}


def seconds(decode: Callable[[], object]) -> float:
    """CPU time of this thread, of the quickest of three."""
    found = []
    for _ in range(3):
        started = time.thread_time()
        with suppress(BadReply):
            decode()
        found.append(time.thread_time() - started)
    return min(found)


@pytest.fixture(scope="module")
def unit() -> float:
    numbers = b"[" + b",".join([NUMBER] * VALUES) + b"]"
    return seconds(lambda: json.loads(numbers))


@pytest.mark.parametrize("kind", COSTLY)
@pytest.mark.parametrize("decode", [decode_reply, decode_notice])
def test_no_message_of_a_megabyte_costs_much(decode: Any, kind: str, unit: float) -> None:
    headers = () if decode is decode_notice else ({},)
    assert seconds(lambda: decode(COSTLY[kind], *headers)) < MOST * unit

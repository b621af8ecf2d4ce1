"""Bodies of replies: good ones, mutated ones, and noise."""

import json
import random
from typing import Any

STATUSES = ("completed", "failed", "canceled", "heartbeat", "Completed", "", 1, None, [])
FIELDS = ("taskToken", "status", "result", "reason", "details", "more")


def body(chance: random.Random) -> bytes:
    pick = chance.random()
    if pick < 0.05:
        return b""
    if pick < 0.1:
        return chance.randbytes(chance.randrange(200))
    if pick < 0.12:
        opening = chance.choice((b"[", b'{"a":', b'{"status":"failed","reason":['))
        return opening * chance.choice((10, 500, 2000, 40_000))
    if pick < 0.14:
        return _nested(chance.choice((1, 98, 99, 100, 101, 400)), chance.choice(STATUSES[:4]))
    given = json.dumps(_reply(chance), ensure_ascii=chance.random() < 0.5)
    made = given.encode("utf-8", "surrogatepass")
    return _mutated(chance, made) if chance.random() < 0.5 else made


def _nested(levels: int, status: object) -> bytes:
    """Good JSON, at and beyond the depth that is taken; the outermost object is one level more."""
    fields = '"result": {0}, "reason": {0}, "details": {0}'.replace(
        "{0}", "[" * levels + "]" * levels
    )
    return f'{{"taskToken": "token", "status": "{status}", {fields}}}'.encode()


def _reply(chance: random.Random) -> dict[str, Any]:
    made = {"taskToken": "token", "status": chance.choice(STATUSES[:4])}
    for name in FIELDS:
        if chance.random() < 0.3:
            made[name] = chance.choice((_value(chance), chance.choice(STATUSES)))
    if chance.random() < 0.1:
        del made[chance.choice(list(made))]
    return made


def _value(chance: random.Random, depth: int = 0) -> Any:
    match chance.randrange(9 if depth < 4 else 7):
        case 0:
            return "x" * chance.choice((1, 255, 256, 257, 1024, 1025, 2049, 32768, 32769, 70_000))
        case 1:
            return "".join(chr(chance.randrange(0x110000)) for _ in range(chance.randrange(20)))
        case 2:
            return chance.choice((0, -1, 2**63, 10**400, 1e308, 1e-320, float("nan"), float("inf")))
        case 3:
            return "𝄞" * chance.choice((127, 128, 129, 511, 512, 513, 16_384, 16_385))
        case 4:
            return chance.choice((True, False, None))
        case 5 | 6:
            return "\ud800" * chance.randrange(300)
        case 7:
            return [_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {str(n): _value(chance, depth + 1) for n in range(chance.randrange(4))}


def _mutated(chance: random.Random, given: bytes) -> bytes:
    made = bytearray(given)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(made) + 1)
        made[at : at + chance.randrange(3)] = chance.choice(
            (b"", b'"', b"{", b"\\ud800", b"1e999", b"9" * 5000, chance.randbytes(2))
        )
    return bytes(made)

"""AMQP 0-9-1 content headers as raw bytes: made, mutated, and judged as RabbitMQ judges them.

What RabbitMQ would not let a worker publish cannot reach the bridge; `accepts` follows its
`rabbit_binary_parser`, which knows more than the specification and does not look into strings.
"""

import random
import struct

SIZES = {b"t": 1, b"b": 1, b"B": 1, b"s": 2, b"u": 2, b"I": 4, b"i": 4, b"l": 8, b"d": 8, b"f": 4}
SIZES |= {b"D": 5, b"T": 8, b"V": 0}
LONG = (b"S", b"x")
SHORT_STRINGS = (15, 14, 10, 9, 8, 7, 5, 4, 3, 2)
"""Bits of the flags of the properties that are short strings."""
HEADERS, DELIVERY_MODE, PRIORITY, TIMESTAMP = 13, 12, 11, 6
NAMES = (
    b"swf-task-token",
    b"swf-status",
    b"CC",
    b"x-death",
    b"x-",
    b"n",
    b"",
    b"\xff",
    "é".encode(),
)
FRAME_MAX = 131_072 - 8


class Malformed(Exception):
    """RabbitMQ would close the connection over it."""


# --- make ---


def value(chance: random.Random, depth: int = 0) -> bytes:
    kind = chance.choice((b"S", b"S", b"x", b"F", b"A", *SIZES))
    if kind in SIZES:
        return kind + chance.choice((chance.randbytes(SIZES[kind]), b"\0" * SIZES[kind]))
    if kind in LONG:
        return kind + long(text(chance))
    if depth > 4:
        return b"V"
    count = chance.randrange(4)
    if kind == b"F":
        return b"F" + table(chance, count, depth + 1)
    return b"A" + long(b"".join(value(chance, depth + 1) for _ in range(count)))


def table(chance: random.Random, count: int, depth: int = 0) -> bytes:
    fields = []
    for _ in range(count):
        name = chance.choice((*NAMES, chance.randbytes(chance.randrange(12))))
        fields.append(short(name) + value(chance, depth))
    return long(b"".join(fields))


def deep(kind: bytes, depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = (short(b"n") if kind == b"F" else b"") + kind + long(inner)
    return long((short(b"n") + b"A" + long(inner)) if kind == b"A" else inner)


def wide(chance: random.Random) -> bytes:
    """Near the largest frame, of one kind of field."""
    one = value(chance, 5)
    field = short(b"n%d" % chance.randrange(10)) + one
    copies = chance.randrange(60_000, FRAME_MAX - 600) // len(field)
    fields = (short(b"%d" % n) + one for n in range(copies)) if chance.random() < 0.5 else [
        short(b"a") + b"A" + long(one * copies)
    ]  # fmt: skip
    return long(b"".join(fields)[: FRAME_MAX - 600])


def text(chance: random.Random) -> bytes:
    return chance.choice(
        (
            b"completed",
            b"heartbeat",
            b"token",
            b"",
            chance.randbytes(chance.randrange(40)),
            "𝄞é\0".encode() * chance.randrange(5),
            b"\xed\xa0\x80",
            b"x" * chance.randrange(3000),
        )
    )


def short(given: bytes) -> bytes:
    return struct.pack("B", len(given[:255])) + given[:255]


def long(given: bytes) -> bytes:
    return struct.pack(">I", len(given)) + given


def frame(chance: random.Random) -> bytes:
    """The flags and values of a content header, with any properties."""
    flags, pieces = 0, []
    for bit in range(15, 1, -1):
        if chance.random() < (0.9 if bit == HEADERS else 0.25):
            flags |= 1 << bit
            pieces.append(_property(chance, bit))
    return struct.pack(">H", flags) + b"".join(pieces)


def _property(chance: random.Random, bit: int) -> bytes:
    if bit == HEADERS:
        pick = chance.random()
        if pick < 0.02:
            return deep(chance.choice((b"F", b"A")), chance.choice((20, 90, 150, 300, 900, 9000)))
        return wide(chance) if pick < 0.03 else table(chance, chance.randrange(6))
    if bit in (DELIVERY_MODE, PRIORITY):
        return chance.randbytes(1)
    if bit == TIMESTAMP:
        return chance.choice((chance.randbytes(8), bytes(8)))
    return short(text(chance))


def mutated(chance: random.Random, given: bytes) -> bytes:
    """A few bytes changed, added or taken away."""
    made = bytearray(given)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(3):
            case 0 if at < len(made):
                made[at] = chance.choice((chance.randrange(256), made[at] ^ 1, *b"StFADTVx"))
            case 1:
                made[at:at] = chance.randbytes(chance.randrange(1, 4))
            case 2:
                del made[at : at + chance.randrange(1, 4)]
    return bytes(made)


# --- judge ---


def accepts(given: bytes) -> bool:
    """Whether RabbitMQ would take a message with this content header from a worker."""
    if len(given) > FRAME_MAX or len(given) < 2:
        return False
    try:
        _judge(given)
    except Malformed:
        return False
    return True


def _judge(given: bytes) -> None:
    (flags,) = struct.unpack_from(">H", given)
    if flags & 3:
        raise Malformed
    at = 2
    for bit in range(15, 1, -1):
        if flags >> bit & 1:
            at = _skip(given, at, bit)
    if at != len(given):
        raise Malformed


def _skip(given: bytes, at: int, bit: int) -> int:
    if bit == HEADERS:
        end = _end(given, at, 4)
        _fields(given, at + 4, end)
        return end
    if bit in SHORT_STRINGS:
        return _end(given, at, 1)
    return _inside(given, at + (8 if bit == TIMESTAMP else 1))


def _end(given: bytes, at: int, size: int) -> int:
    _inside(given, at + size)
    return _inside(given, at + size + int.from_bytes(given[at : at + size], "big"))


def _inside(given: bytes, at: int) -> int:
    if at > len(given):
        raise Malformed
    return at


def _fields(given: bytes, at: int, end: int) -> None:
    """Without recursion, as deep as a frame can be."""
    stack = [(at, end, True)]
    while stack:
        at, end, named = stack.pop()
        while at < end:
            at = _end(given, at, 1) if named else at
            kind, at = given[at : at + 1], at + 1
            if kind in SIZES:
                at += SIZES[kind]
            elif kind in LONG:
                at = _end(given, at, 4)
            elif kind in (b"F", b"A"):
                inner = _end(given, at, 4)
                stack.append((at + 4, inner, kind == b"F"))
                at = inner
            else:
                raise Malformed
        if at != end:
            raise Malformed

"""Bytes made of other bytes: whatever a file or a peer could hold, near to what is good."""

import random
from collections.abc import Sequence

LONGEST = 256 * 1024
"""Bytes of a case: what is longer takes its time for nothing that a shorter one has not."""

_NUMBERS = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")
_WORDS = (
    b"\0",
    b"\r\n",
    b'"',
    b"\\",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\xf0\x9d\x84\x9e",
    b"\x1b[2J",
    b"\xe2\x80\xae",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"9" * 400,
    b"[[[[",
    b'{"":',
    b"%s%00",
    b"://",
)


def mutated(chance: random.Random, corpus: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One of the corpus with a few changes: bits, bytes, numbers, words, pieces of another."""
    made = bytearray(chance.choice(corpus))
    for _ in range(min(12, 1 + int(chance.expovariate(0.5)))):
        _change(chance, made, corpus, words)
    return bytes(made[:LONGEST])


def _change(
    chance: random.Random, made: bytearray, corpus: Sequence[bytes], words: Sequence[bytes]
) -> None:
    at = chance.randrange(len(made) + 1)
    end = min(len(made), at + 1 + int(chance.expovariate(0.1)))
    match chance.randrange(9):
        case 0 if at < len(made):
            made[at] ^= 1 << chance.randrange(8)
        case 1:
            made[at:at] = chance.randbytes(chance.randrange(1, 5))
        case 2:
            del made[at:end]
        case 3:
            made[at:at] = chance.choice((*words, *_WORDS)) if words else chance.choice(_WORDS)
        case 4:
            made[at:end] = chance.choice((*words, *_WORDS)) if words else chance.choice(_WORDS)
        case 5:
            number = chance.choice(_NUMBERS)
            made[at : at + len(number)] = number
        case 6:
            copies = chance.choice((2, 3, 10, 100, 2000))
            made[at:end] = bytes(made[at:end]) * min(copies, LONGEST // max(1, end - at))
        case 7:
            other = chance.choice(corpus)
            start = chance.randrange(len(other) + 1)
            made[at:end] = other[start : start + chance.randrange(1, 2000)]
        case 8 if chance.random() < 0.2:
            del made[at:]

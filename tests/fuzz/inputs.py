"""Every input of the daemon by name: how a case is fed to it, and what it is made from.

`feed` does with the bytes what the daemon does, and returns what came of it in a word. It raises
where the daemon would end, hang on to it for ever, or show a traceback.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

Feed = Callable[[bytes], str]
Make = Callable[[], AbstractContextManager[Feed]]


@dataclass(frozen=True)
class Input:
    """One way into the daemon."""

    name: str
    make: Make
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    """What stands in good ones, to be put where it does not belong."""
    share: int = 1
    """Of all cases, beside the shares of the others: few where one takes long."""


INPUTS: dict[str, Input] = {}


def source(
    seeds: tuple[bytes, ...], *, words: tuple[bytes, ...] = (), share: int = 1
) -> Callable[[Make], Make]:
    """Register a context manager that gives the feed of an input."""

    def register(make: Make) -> Make:
        name = make.__name__
        INPUTS[name] = Input(name, make, seeds, words, share)
        return make

    return register

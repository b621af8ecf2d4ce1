"""Cases in a process of their own, on a thread with the stack of the daemon's threads.

What ends the process, or hangs, is found by who watches it: the number of the case under way stands
in memory that both share.
"""

import multiprocessing
import random
import resource
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from bridge.daemon import THREAD_STACK

from . import corpus
from .case import Case
from .every import INPUTS
from .mutation import mutated

MESSAGES = "messages"
"""Beside the inputs: replies and properties made by their grammar, not of bytes."""
HANG = 20.0
"""Seconds for one case, on a machine that others use too."""
MEMORY = 3 * 2**30
"""Bytes of address space of a process of cases."""

Run = Callable[[int], str]


def names() -> list[str]:
    return [MESSAGES, *INPUTS]


def share(name: str) -> int:
    return 60 if name == MESSAGES else INPUTS[name].share


def made(name: str, number: int, begin_with: list[bytes]) -> bytes:
    """The bytes of a case: the same as long as the corpus is."""
    chance = random.Random(f"{name}-{number}")
    return mutated(chance, begin_with, INPUTS[name].words)


@contextmanager
def cases(name: str) -> Iterator[Run]:
    """What runs one case of an input by its number."""
    if name == MESSAGES:
        yield lambda number: Case.of(number).run()
        return
    known = INPUTS[name]
    begin_with = corpus.beginning(name, known.seeds)
    with known.make() as feed:
        yield lambda number: feed(made(name, number, begin_with))


@dataclass
class Found:
    """What came of a range of cases."""

    name: str
    seen: Counter[str]
    failed: int | None = None
    """The number of the first that failed."""
    why: str = ""
    cpu: float = 0.0
    """Seconds of the processor that they took, all threads of their process counted."""


class Process:
    """One process of cases. It is given one range after the other."""

    def __init__(self, hang: float = HANG) -> None:
        self._hang = hang
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self._number = context.Value("q", -1, lock=False)
        self._range: tuple[str, int, int] | None = None
        self._moved = (0, 0.0)
        self._process = context.Process(target=_serve, args=(theirs, self._number), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, name: str, first: int, count: int) -> None:
        self._range = (name, first, count)
        self._moved = (-1, time.monotonic())
        self.pipe.send(self._range)

    def take(self) -> Found:
        """What came of the range; also where the process is gone."""
        assert self._range is not None
        name, _, _ = self._range
        self._range = None
        try:
            found: Found = self.pipe.recv()
        except EOFError:
            self._process.join()
            why = f"the process ended with {self._process.exitcode}"
            return Found(name, Counter(), self._number.value, why)
        return found

    def look(self) -> None:
        """End the process where it hangs over one case."""
        number, since = self._moved
        if self._number.value != number:
            self._moved = (self._number.value, time.monotonic())
        elif self._range and time.monotonic() - since > self._hang:
            self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, number: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.stack_size(THREAD_STACK)
    thread = threading.Thread(target=_serve_ranges, args=(pipe, number))
    thread.start()
    thread.join()


def _serve_ranges(pipe: Connection, number: Any) -> None:
    while True:
        try:
            name, first, count = pipe.recv()
        except EOFError:
            return
        pipe.send(_run(name, range(first, first + count), number))


def _run(name: str, numbers: range, current: Any) -> Found:
    found, began = Found(name, Counter()), time.process_time()
    with cases(name) as run:
        for number in numbers:
            current.value = number
            try:
                found.seen[run(number)] += 1
            except BaseException:
                found.failed, found.why = number, traceback.format_exc()
                break
    found.cpu = time.process_time() - began
    return found

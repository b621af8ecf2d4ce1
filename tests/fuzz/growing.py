"""Cases that reach lines of the bridge which none before them reached: kept in the corpus."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from . import corpus
from .every import INPUTS
from .process import made

BRIDGE = str(Path(__file__).parents[2] / "bridge")


class Lines:
    """The lines of the bridge that were run on this thread since it was made."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int]] = set()

    def run(self, work: Callable[[], object]) -> int:
        """How many lines were new."""
        before = len(self.seen)
        sys.settrace(self._enter)
        try:
            work()
        finally:
            sys.settrace(None)
        return len(self.seen) - before

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(BRIDGE) else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        self.seen.add((frame.f_code, frame.f_lineno))
        return self._line


def grow(name: str, seconds: float, first: int = 0) -> list[Path]:
    """Cases for so many seconds; those that reached something new, as files of the corpus."""
    known, lines, kept = INPUTS[name], Lines(), []
    begin_with = corpus.beginning(name, known.seeds)
    with known.make() as feed:
        for data in begin_with:
            lines.run(lambda data=data: feed(data))  # type: ignore[misc]
        deadline, number = time.monotonic() + seconds, first
        while time.monotonic() < deadline:
            data = made(name, number, begin_with)
            number += 1
            if len(data) < 4096 and lines.run(lambda data=data: feed(data)):  # type: ignore[misc]
                begin_with.append(data)
                kept.append(corpus.add(name, data))
    return kept

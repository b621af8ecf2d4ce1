"""One thread that calls scheduled actions, so that no delay needs a thread of its own."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable

TICK = 1.0
PATIENCE = 60.0

Action = Callable[[], object]
"""Must be short and must not wait for a peer: all other due actions wait for it."""


class Timer:
    """A part: calls actions when they are due. ``later`` may be called from any thread."""

    def __init__(self) -> None:
        self.name = "timer"
        self.patience = PATIENCE
        self.moved = time.monotonic()
        self._due: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Timer {len(self._due)} waiting>"

    def later(self, seconds: float, action: Action) -> None:
        """Call ``action`` in ``seconds``, unless stopped before."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), action))
            self._changed.notify()

    def every(self, seconds: float, action: Action) -> None:
        """Call ``action`` about every ``seconds``, the first time at once."""

        def again() -> None:
            self.later(seconds, again)
            action()

        self.later(0.0, again)

    def run(self) -> None:
        """Call due actions until asked to stop."""
        while not self._stopping:
            self.moved = time.monotonic()
            self.call_due()
            self._wait()

    def stop(self) -> None:
        """Call no more actions."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def call_due(self) -> None:
        """Call all actions that are due."""
        while not self._stopping and (action := self._next_due()):
            action()

    def _next_due(self) -> Action | None:
        with self._changed:
            if self._due and self._due[0][0] <= time.monotonic():
                return heapq.heappop(self._due)[2]
        return None

    def _wait(self) -> None:
        with self._changed:
            until = self._due[0][0] - time.monotonic() if self._due else TICK
            if not self._stopping and until > 0:
                self._changed.wait(min(TICK, until))

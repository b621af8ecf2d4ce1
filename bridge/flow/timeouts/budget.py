"""A rate limit for calls to SWF that are useful but not necessary."""

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW = 1.05
"""Seconds of the sliding window: a little over one, because a call is sent after it is counted."""


class Budget:
    """At most ``calls`` a second, for all callers together. Safe to use from many threads."""

    def __init__(self, calls: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.calls = calls
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._taken: deque[float] = deque()

    def __repr__(self) -> str:
        return f"<Budget {len(self._taken)} of {self.calls} calls>"

    def take(self, spare: int = 0) -> bool:
        """Count a call and return True, if at least ``spare`` calls remain after it."""
        now = self._monotonic()
        with self._lock:
            while self._taken and now - self._taken[0] > WINDOW:
                self._taken.popleft()
            if len(self._taken) >= self.calls - spare:
                return False
            self._taken.append(now)
            return True

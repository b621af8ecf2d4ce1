"""How often SWF may be asked what is good to know, but not needed."""

import threading
import time
from collections import deque

WINDOW = 1.05
"""Seconds in which the calls are counted: a little over one, for they are not sent at once."""


class Budget:
    """So many ``calls`` a second, whoever makes them. Safe to use from many threads."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self._lock = threading.Lock()
        self._taken: deque[float] = deque()

    def __repr__(self) -> str:
        return f"<Budget {len(self._taken)} of {self.calls} calls>"

    def take(self, spare: int = 0) -> bool:
        """Whether a call may be made now; never where fewer than ``spare`` others could follow."""
        now = time.monotonic()
        with self._lock:
            while self._taken and now - self._taken[0] > WINDOW:
                self._taken.popleft()
            if len(self._taken) >= self.calls - spare:
                return False
            self._taken.append(now)
            return True

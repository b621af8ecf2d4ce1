"""Logs the loss of a peer once and its return once, however many attempts fail."""

import logging
from collections.abc import Callable
from threading import Lock
from time import monotonic

QUIET = 30.0
"""Seconds after a logged loss within which another loss of the peer is not logged."""


class Outage:
    """Whether a peer is away, and since when; shared by all users of the peer, on any thread.

    Call ``begin`` after each failure and ``end`` after each success. Only changes are logged:
    ``lost`` as a warning, ``back`` with the duration. Losses are logged at most once in ``quiet``
    seconds; if a loss lasts longer, the next ``begin`` logs it. ``fields`` are added to every line.
    """

    def __init__(
        self,
        log: logging.Logger,
        lost: str,
        back: str,
        *,
        quiet: float = QUIET,
        clock: Callable[[], float] = monotonic,
        **fields: object,
    ) -> None:
        self.error = ""
        """The last error while the peer is away, else empty."""
        self._log = log
        self._lost = lost
        self._back = back
        self._quiet = quiet
        self._clock = clock
        self._fields = fields
        self._lock = Lock()
        self._since: float | None = None
        self._logged = False
        self._logged_at = float("-inf")
        self._count = 0

    def __repr__(self) -> str:
        return f"<Outage {self._lost} {self.error or 'no'}>"

    @property
    def seconds(self) -> float:
        """The seconds since the loss; 0.0 while the peer is available."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def begin(self, error: object, **fields: object) -> bool:
        """Record a failure; return whether it was logged. ``fields`` are added to the line."""
        with self._lock:
            now = self._clock()
            if self._since is None:
                self._since, self._logged, self._count = now, False, 0
            self._count += 1
            self.error = str(error) or type(error).__name__
            if self._logged or now - self._logged_at < self._quiet:
                return False
            self._logged, self._logged_at = True, now
        self._log.warning(self._lost, extra={**self._fields, "error": self.error, **fields})
        return True

    def end(self, **fields: object) -> float | None:
        """Record a success; return the seconds that the peer was away, None if it was not."""
        if self._since is None:  # the common case needs neither lock nor clock
            return None
        with self._lock:
            if self._since is None:
                return None
            seconds = self._clock() - self._since
            logged, count = self._logged, self._count
            self._since, self.error = None, ""
        if logged:
            told = {"seconds": round(seconds, 1), "count": count, **fields}
            self._log.info(self._back, extra={**self._fields, **told})
        return seconds

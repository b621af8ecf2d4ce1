"""One log line where a peer is lost and one where it is back, however often it is tried."""

import logging
from collections.abc import Callable
from threading import Lock
from time import monotonic

QUIET = 30.0
"""Seconds after a loss was logged in which a new loss of the same peer is not logged again."""


class Outage:
    """Whether a peer is away, and since when; shared by all who use the peer, on any thread.

    Everyone who fails calls ``begin``, everyone who succeeds calls ``end``: only what changes is
    logged, as ``lost`` (a warning) and ``back`` with the duration. A peer that comes and goes is
    logged at most once in ``quiet`` seconds, and a loss that lasts longer is logged by the next
    ``begin``. ``fields`` go with every line.
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
        self._error = ""

    def __repr__(self) -> str:
        return f"<Outage {self._lost} {self.error or 'no'}>"

    @property
    def error(self) -> str:
        """The last error while the peer is away, else the empty string."""
        return self._error

    @property
    def seconds(self) -> float:
        """How long the peer has been away; 0.0 while it is there."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def begin(self, error: object, **fields: object) -> bool:
        """Note a failure; return whether it was logged. ``fields`` go with the line."""
        with self._lock:
            now = self._clock()
            if self._since is None:
                self._since, self._logged, self._count = now, False, 0
            self._count += 1
            self._error = str(error) or type(error).__name__
            if self._logged or now - self._logged_at < self._quiet:
                return False
            self._logged, self._logged_at = True, now
        self._log.warning(self._lost, extra={**self._fields, "error": self._error, **fields})
        return True

    def end(self, **fields: object) -> float | None:
        """Note a success; return for how many seconds the peer was away, None where it was not."""
        if self._since is None:  # the way of every success: no lock, no clock
            return None
        with self._lock:
            if self._since is None:
                return None
            seconds = self._clock() - self._since
            logged, count = self._logged, self._count
            self._since, self._error = None, ""
        if logged:
            told = {"seconds": round(seconds, 1), "count": count, **fields}
            self._log.info(self._back, extra={**self._fields, **told})
        return seconds

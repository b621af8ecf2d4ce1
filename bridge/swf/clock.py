"""SWF's own clock, by the ``Date`` of its answers: ours may be minutes off."""

import time
from datetime import UTC
from email.utils import parsedate_to_datetime


class SwfClock:
    """What time it is at SWF, told by its last answer. Safe to use from many threads.

    The time is never ahead of SWF's: a ``Date`` has whole seconds, rounded down, and is written
    before it is read here. What counts from it ends late rather than early.
    """

    def __init__(self) -> None:
        self._ahead: float | None = None
        """Seconds by which SWF's clock is ahead of our monotonic one. This and ``_last`` are
        replaced whole and read once each: no lock is needed, not even the interpreter's."""
        self._last: tuple[str, float | None] = ("", None)

    def __repr__(self) -> str:
        return f"<SwfClock {self.now()}>"

    def note(self, date: object) -> float | None:
        """The time in the header ``Date`` of an answer that came now; None where it tells none."""
        told = self._read(date) if isinstance(date, str) else None
        if told is not None:
            self._ahead = told - time.monotonic()
        return told

    def now(self) -> float | None:
        """Seconds since the epoch; None before SWF has told its time."""
        ahead = self._ahead
        return None if ahead is None else time.monotonic() + ahead

    def _read(self, date: str) -> float | None:
        text, told = self._last
        if text != date:  # many answers come within one second
            told = seconds_of(date)
            self._last = (date, told)
        return told


def seconds_of(date: str) -> float | None:
    """Seconds since the epoch of an HTTP ``Date``, which is always GMT; None where it is none."""
    try:
        told = parsedate_to_datetime(date)
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None

"""SWF's clock, read from the ``Date`` header of its answers: ours may be minutes off."""

import time
from datetime import UTC
from email.utils import parsedate_to_datetime


class SwfClock:
    """An estimate of SWF's time, from its last answer. Safe to use from many threads.

    The estimate is never ahead of SWF's time: a ``Date`` is rounded down to whole seconds and is
    written before it is read here. So a deadline by this clock passes late rather than early.
    """

    def __init__(self) -> None:
        self._ahead: float | None = None
        """SWF's seconds since the epoch minus our monotonic seconds. Methods read and replace this
        and ``_last`` as a whole, once a call, so they need no lock and do not rely on the GIL."""
        self._last: tuple[str, float | None] = ("", None)

    def __repr__(self) -> str:
        return f"<SwfClock {self.now()}>"

    def note(self, date: object) -> float | None:
        """Set the clock by the ``Date`` of an answer just received; None if it is no date."""
        told = self._read(date) if isinstance(date, str) else None
        if told is not None:
            self._ahead = told - time.monotonic()
        return told

    def now(self) -> float | None:
        """Seconds since the epoch; None before the first answer with a ``Date``."""
        ahead = self._ahead
        return None if ahead is None else time.monotonic() + ahead

    def _read(self, date: str) -> float | None:
        text, told = self._last
        if text != date:  # many answers come within one second
            told = seconds_of(date)
            self._last = (date, told)
        return told


def seconds_of(date: str) -> float | None:
    """Seconds since the epoch of an HTTP ``Date`` (always GMT); None if it is no date."""
    try:
        told = parsedate_to_datetime(date)
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None

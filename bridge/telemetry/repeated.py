"""Log events of which one worker may bring thousands: the first few, and then their number.

A worker that sends nothing but bad replies must neither fill the log nor push out of it, and out of
the last errors of the page, what else there is to know.
"""

import logging
import weakref
from collections.abc import Callable
from threading import Lock
from time import monotonic

MOST = 5
"""Lines of one kind in a span; what comes beyond them is counted."""
SPAN = 60.0
"""Seconds of a span: it begins with the first line of a kind, and the number is told at its end."""
KINDS = 100
"""Kinds told apart in a span: a worker may call itself by another name each time."""
FLUSH = 5.0
"""Seconds between two looks at the spans that are over."""
OTHERS = ("others",)

Kind = tuple[object, ...]


class Repeated:
    """One event. ``tell`` may be called from any thread, and ``flush`` has to be, now and then."""

    def __init__(
        self,
        log: logging.Logger,
        event: str,
        level: int = logging.WARNING,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._log = log
        self._event = event
        self._level = level
        self._clock = clock
        self._lock = Lock()
        self._spans: dict[Kind, _Span] = {}
        _all.add(self)

    def tell(self, kind: Kind, **fields: object) -> None:
        """Log the event, or count it where MOST of its kind were logged in this span."""
        with self._lock:
            if kind not in self._spans and len(self._spans) >= KINDS:
                kind = OTHERS
            span = self._spans.setdefault(kind, _Span(self._clock()))
            span.count += 1
            if span.count > MOST:
                span.last = fields
                return
        self._log.log(self._level, self._event, extra=fields)

    def flush(self, *, everything: bool = False) -> None:
        """Tell of each span that is over the number left out, with the fields of the last."""
        now = self._clock()
        with self._lock:
            over = [
                kind for kind, span in self._spans.items() if everything or now - span.since >= SPAN
            ]
            spans = [self._spans.pop(kind) for kind in over]
        for span in spans:
            if (left_out := span.count - MOST) > 0:
                told = {**span.last, "count": left_out, "seconds": round(now - span.since)}
                self._log.log(self._level, self._event, extra=told)


class _Span:
    __slots__ = ("count", "last", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.count = 0
        self.last: dict[str, object] = {}


_all: "weakref.WeakSet[Repeated]" = weakref.WeakSet()


def flush(*, everything: bool = False) -> None:
    """Tell what was left out, of every event."""
    for each in list(_all):
        each.flush(everything=everything)

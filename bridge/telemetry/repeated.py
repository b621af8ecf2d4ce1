"""Rate limit for log events that a worker can cause by the thousand: the first few, then a count.

A worker that sends only bad replies must not fill the log, nor push other events out of it or out
of the status page's last errors.
"""

import logging
import weakref
from collections.abc import Callable
from threading import Lock
from time import monotonic

MOST = 5
"""Lines of one kind logged in a span; further events are only counted."""
SPAN = 60.0
"""Seconds of a span, which starts with a kind's first event. At its end the count is logged."""
KINDS = 100
"""Kinds tracked at once, as a worker may use a new name each time; further ones share OTHERS."""
FLUSH = 5.0
"""Seconds between two calls of ``flush`` by the daemon."""
OTHERS = ("others",)

Kind = tuple[object, ...]


class Repeated:
    """One event. Any thread may call ``tell``; ``flush`` must be called every FLUSH seconds."""

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
        """Log the event, or count it if MOST of its kind were logged in this span."""
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
        """Log, for each ended span, the number of events left out with the last one's fields."""
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
    """Flush every event of the process."""
    for each in list(_all):
        each.flush(everything=everything)

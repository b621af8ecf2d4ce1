"""A cache of the time-outs registered with activity types: one call for each type and hour.

A decider may override them when it schedules a task. Once one task of a type was seen with other
time-outs, the registered ones are not used for that type again.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from bridge.errors import Unavailable
from bridge.journal.journal import Journal
from bridge.swf.client import Calls
from bridge.task import Timeouts
from bridge.telemetry.outage import Outage

log = logging.getLogger(__name__)

REMEMBERED = 3600.0
RETRY = 60.0
"""Seconds until the next call for a type when SWF could not be reached."""
KEPT = 10_000
"""Maximum number of types in the cache."""
UNKNOWN = Timeouts()

Kind = tuple[str, str, str]
"""An activity type: its domain, name and version."""
Told = Callable[[Timeouts], object]


class ActivityTypes:
    """The cache of registered time-outs, by activity type. Safe to use from many threads."""

    def __init__(
        self, swf: Calls, journal: Journal, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._swf = swf
        self._monotonic = monotonic
        self._journal = journal
        self._outage = Outage(log, "types.failing", "types.back")
        self._lock = threading.Lock()
        self._registered: dict[Kind, tuple[Timeouts, float]] = {}
        """The time-outs, and the monotonic seconds at which they expire from the cache."""
        self._seen: dict[Kind, Timeouts] = {}
        """Time-outs of a task that was scheduled, for types whose registration is not known."""
        self._waiting: dict[Kind, tuple[float, list[Told]]] = {}
        """When the call to SWF was requested (monotonic), and the callbacks that wait for it."""

    def __repr__(self) -> str:
        return f"<ActivityTypes {len(self._registered)} known>"

    def known(self, kind: Kind) -> Timeouts | None:
        """The time-outs of the type; None if they are not cached and SWF must be asked."""
        if kind in self._journal.overridden:
            return UNKNOWN
        timeouts, until = self._registered.get(kind, (None, 0.0))
        return timeouts if self._monotonic() < until else None

    def saw(self, kind: Kind, timeouts: Timeouts) -> None:
        """Compare the time-outs of a scheduled task with those registered for its type."""
        with self._lock:
            registered, _ = self._registered.get(kind, (UNKNOWN, 0.0))
            if registered == UNKNOWN:
                _keep(self._seen, kind, timeouts)
        self._compare(kind, registered, timeouts)

    def wait(self, kind: Kind, told: Told) -> float:
        """Register ``told`` as a callback of ``ask``; return the seconds since the first one.

        Return 0 if no other callback waits: then the caller must call ``ask``.
        """
        with self._lock:
            since, waiting = self._waiting.setdefault(kind, (self._monotonic(), []))
            waiting.append(told)
            return self._monotonic() - since if len(waiting) > 1 else 0.0

    async def ask(self, kind: Kind) -> None:
        """Ask SWF and call all waiting callbacks, with UNKNOWN if SWF cannot be reached."""
        timeouts, seconds = UNKNOWN, RETRY
        try:
            timeouts, seconds = await self._swf.registered(*kind), REMEMBERED
            self._outage.end()
        except Unavailable as error:
            self._outage.begin(error, activity=kind[1], version=kind[2])
        finally:
            with self._lock:
                _keep(self._registered, kind, (timeouts, self._monotonic() + seconds))
                seen = self._seen.pop(kind, None)
                _, waiting = self._waiting.pop(kind, (0.0, []))
            if seen is not None:
                self.saw(kind, seen)
            for told in waiting:
                told(self.known(kind) or UNKNOWN)

    def _compare(self, kind: Kind, registered: Timeouts, seen: Timeouts) -> None:
        same = all(own is None or own == other for own, other in zip(registered, seen, strict=True))
        if not same and kind not in self._journal.overridden:
            domain, name, version = kind
            extra = {"domain": domain, "activity": name, "version": version}
            log.info("type.overridden", extra=extra)
            self._journal.override(kind)


Kept = TypeVar("Kept")


def _keep(kept: dict[Kind, Kept], kind: Kind, value: Kept) -> None:
    """Store the value; beyond KEPT entries, remove the oldest."""
    kept[kind] = value
    if len(kept) > KEPT:
        del kept[next(iter(kept))]

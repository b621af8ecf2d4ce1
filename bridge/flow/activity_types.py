"""The time-outs with which activity types are registered: a call a type and hour, not one a task.

They hold for a task unless its decider gave it others when it scheduled it. Where that was seen
once, nothing is known of the tasks of that type any more.
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
"""Seconds until a type is asked for again that SWF did not tell."""
KEPT = 10_000
"""Types that are remembered at most."""
UNKNOWN = Timeouts()

Kind = tuple[str, str, str]
"""An activity type: its domain, name and version."""
Told = Callable[[Timeouts], object]


class ActivityTypes:
    """The types that tasks were seen of. Safe to use from many threads."""

    def __init__(self, swf: Calls, journal: Journal) -> None:
        self._swf = swf
        self._journal = journal
        self._outage = Outage(log, "types.failing", "types.back")
        self._lock = threading.Lock()
        self._registered: dict[Kind, tuple[Timeouts, float]] = {}
        """With the monotonic seconds until which they are taken for true."""
        self._seen: dict[Kind, Timeouts] = {}
        """What tasks were scheduled with, of types whose registration is not known."""
        self._waiting: dict[Kind, tuple[float, list[Told]]] = {}
        """Who is to be told, and since when SWF is asked."""

    def __repr__(self) -> str:
        return f"<ActivityTypes {len(self._registered)} known>"

    def known(self, kind: Kind) -> Timeouts | None:
        """The time-outs of its tasks; None where SWF has to be asked for them."""
        if kind in self._journal.overridden:
            return UNKNOWN
        timeouts, until = self._registered.get(kind, (None, 0.0))
        return timeouts if time.monotonic() < until else None

    def saw(self, kind: Kind, timeouts: Timeouts) -> None:
        """A task of this type was scheduled with these: compare them with those registered."""
        with self._lock:
            registered, _ = self._registered.get(kind, (UNKNOWN, 0.0))
            if registered == UNKNOWN:
                _keep(self._seen, kind, timeouts)
        self._compare(kind, registered, timeouts)

    def wait(self, kind: Kind, told: Told) -> float:
        """Have ``told`` called once SWF has answered ``ask``; seconds since somebody asks.

        They are 0 where nobody does yet: then it is for the caller to.
        """
        with self._lock:
            since, waiting = self._waiting.setdefault(kind, (time.monotonic(), []))
            waiting.append(told)
            return time.monotonic() - since if len(waiting) > 1 else 0.0

    async def ask(self, kind: Kind) -> None:
        """Ask SWF, and tell all who wait; that nothing is known, where it does not answer."""
        timeouts, seconds = UNKNOWN, RETRY
        try:
            timeouts, seconds = await self._swf.registered(*kind), REMEMBERED
            self._outage.end()
        except Unavailable as error:
            self._outage.begin(error, activity=kind[1], version=kind[2])
        finally:
            with self._lock:
                _keep(self._registered, kind, (timeouts, time.monotonic() + seconds))
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
    """Remember the value, and forget the oldest of too many."""
    kept[kind] = value
    if len(kept) > KEPT:
        del kept[next(iter(kept))]

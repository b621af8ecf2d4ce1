"""Merges the waiting heartbeats of each task, and bounds them so that no task crowds out others.

SWF's answer to one heartbeat of a task answers all heartbeats of it that came meanwhile. If a
worker beats in a tight loop, only its newest heartbeat waits for SWF. Nothing here does I/O.
"""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from bridge.rabbitmq.consuming.delivery import Delivery, Later
from bridge.task import Heartbeat
from bridge.telemetry.outage import Outage

MERGE = 1.0
"""Seconds between two heartbeats of a task to SWF, whose time-outs are whole seconds. SWF's answer
to one is reused for heartbeats that come within that time."""
IN_HAND = 112
"""Maximum number of waiting heartbeats. The consumer holds any others and delivers them later.
The limit leaves a part of the prefetch to replies."""
CROWDED = 64
"""From this number on, only the newest heartbeat of a task that SWF has answered before waits."""
SHARE = 16
"""Maximum number of waiting heartbeats of one task."""
SHARE_OF_KNOWN = 4
"""The same for a task that SWF has answered before: older heartbeats are acknowledged unanswered,
and answered after SWF's next answer."""
OWED = 10_000
"""Maximum number of such answers still to be given; beyond it, the oldest are dropped."""
SOON = 0.1
"""Seconds for which the consumer holds a heartbeat that finds no room here."""
KEPT = 1024
"""Maximum number of tasks whose newest details and last answer are remembered: more than can have
an unacknowledged heartbeat."""

Beats = list[tuple[Delivery, Heartbeat]]
Place = tuple[int, int]
"""The order of a delivery: the number of the channel's life, and the delivery tag."""


@dataclass(frozen=True, slots=True)
class Answer:
    """SWF's answer to a heartbeat of a task."""

    at: float
    """Monotonic seconds."""
    is_open: bool = True
    cancel: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """The address for the answer to a heartbeat; no answer if ``reply_to`` is empty."""

    token: str
    reply_to: str
    correlation_id: Any


class Taken(NamedTuple):
    """The result of taking a heartbeat."""

    through: Beats
    """Heartbeats to acknowledge at once; may include the one taken."""
    answer: Answer | None
    """SWF's answer to them, if one was given within the last ``holds`` seconds."""
    later: Later | None
    """Set if there is no room: the consumer must hold the heartbeat and try again."""
    begins: bool
    """Whether this heartbeat must be sent to SWF at once."""


class Merge:
    """Decides which heartbeats go to SWF and which an answer covers. Thread-safe."""

    def __init__(self, outage: Outage) -> None:
        self.holds = MERGE
        """Seconds for which SWF's answer is reused for other heartbeats of the task."""
        self._outage = outage
        self._lock = threading.Lock()
        self._in_hand = 0
        self._waiting: dict[str, Beats] = {}
        """By task: heartbeats that wait while one is under way, or was within MERGE seconds."""
        self._newest: OrderedDict[str, tuple[Place, str | None]] = OrderedDict()
        """By task: the newest heartbeat's place and details. A retry of an older heartbeat sends
        these details too."""
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._owed: OrderedDict[str, list[Asked]] = OrderedDict()
        """By task: heartbeats acknowledged before SWF answered, and still to be answered."""
        self._owing = 0

    def __repr__(self) -> str:
        return f"<Merge {self._in_hand} in hand>"

    def take(self, delivery: Delivery, beat: Heartbeat) -> Taken:
        """Take a heartbeat in hand, and note its details if it is the newest of its task."""
        with self._lock:
            answer = self._answers.get(beat.task)
            if answer is not None and time.monotonic() - answer.at >= self.holds:
                answer = None
            through = self._overtaken(delivery, beat, answer)
            self._in_hand -= len(through)
            if self._is_overtaken(delivery, beat, answer):
                return Taken([*through, (delivery, beat)], answer, None, False)
            waiting = self._waiting.get(beat.task)
            if self._in_hand >= IN_HAND or (waiting is not None and len(waiting) >= SHARE):
                why = "as many heartbeats as may wait do so"
                return Taken(through, answer, Later(SOON, why), False)
            self._in_hand += 1
            if waiting is None:
                self._waiting[beat.task] = []
            else:
                waiting.append((delivery, beat))
            return Taken(through, answer, None, waiting is None)

    def begin(self, task: str) -> bool:
        """Begin a heartbeat of the bridge; return False if one of the task is under way."""
        with self._lock:
            if task in self._waiting:
                return False
            self._waiting[task] = []
            return True

    def details(self, last: Heartbeat) -> str | None:
        """The details to send to SWF with ``last``: those of the task's newest heartbeat."""
        with self._lock:
            _, details = self._newest.get(last.task, (None, last.details))
            return details

    def answered(self, task: str, beats: Beats, answer: Answer) -> tuple[Beats, list[Asked]]:
        """Note SWF's answer to ``beats``; return all heartbeats it settles, and whom to answer.

        It settles those that wait too, except the newest of an open task: SWF must still get its
        details. Overtaken heartbeats that are owed an answer get this one.
        """
        with self._lock:
            _keep(self._answers, task, answer)
            newest, _ = self._newest.get(task, (None, None))
            waiting = self._waiting[task]
            stay = [each for each in waiting if answer.is_open and _place(each[0]) == newest]
            settled = [*beats, *(each for each in waiting if each not in stay)]
            waiting[:] = stay
            self._in_hand -= len(settled)
            return settled, [*self._settle_owed(task), *(asked(*each) for each in settled)]

    def refused(self, task: str) -> Beats:
        """Return all heartbeats that wait for the task, after SWF refused its token."""
        with self._lock:
            waiting, self._waiting[task] = self._waiting[task], []
            self._settle_owed(task)
            return waiting

    def next(self, task: str) -> Beats:
        """The waiting heartbeats, which go to SWF next; if there are none, forget the task."""
        with self._lock:
            if beats := self._waiting[task]:
                self._waiting[task] = []
            else:
                del self._waiting[task]
            return beats

    def done(self, count: int) -> None:
        """Count ``count`` heartbeats as settled, which were under way or waiting."""
        with self._lock:
            self._in_hand -= count

    # --- under the lock ---

    @property
    def _crowded(self) -> bool:
        """Whether heartbeats come faster than SWF takes them."""
        return self._in_hand >= CROWDED or bool(self._outage.error)

    def _overtaken(self, delivery: Delivery, beat: Heartbeat, answer: Answer | None) -> Beats:
        """Note the newest heartbeat of the task; return the waiting ones that it settles.

        With a recent answer, it settles all. Otherwise, if SWF has answered the task before or
        heartbeats are crowded, it settles those without ``reply_to``. If SWF has answered before,
        it also settles the oldest above the task's share, which get SWF's next answer.
        """
        known = self._newest.get(beat.task)
        if known is not None and known[0] > _place(delivery):
            return []
        _keep(self._newest, beat.task, (_place(delivery), beat.details))
        waiting = self._waiting.get(beat.task, [])
        if answer is not None:
            overtaken, waiting[:] = list(waiting), []
            return overtaken
        if not self._need_not_wait(beat.task):
            return []
        stay = [each for each in waiting if asked(*each).reply_to]
        overtaken = [each for each in waiting if each not in stay]
        if beat.task in self._answers:
            others = 0 if self._crowded else SHARE_OF_KNOWN - 1
            oldest = stay[: max(0, len(stay) - others)]
            stay = stay[len(oldest) :]
            self._owe(beat.task, oldest)
            overtaken += oldest
        waiting[:] = stay
        return overtaken

    def _is_overtaken(self, delivery: Delivery, beat: Heartbeat, answer: Answer | None) -> bool:
        """Whether the heartbeat need not go to SWF: a newer one replaces it, or the task is closed.

        If there is no answer yet but another heartbeat waits for one, it is answered with that.
        """
        if answer is not None and not answer.is_open:
            return True
        if self._newest[beat.task][0] == _place(delivery):
            return False
        if answer is not None:
            return True
        if not asked(delivery, beat).reply_to:
            return self._need_not_wait(beat.task)
        if beat.task in self._answers and self._waiting.get(beat.task):
            self._owe(beat.task, [(delivery, beat)])
            return True
        return False

    def _need_not_wait(self, task: str) -> bool:
        """Whether a newer heartbeat settles an older one that wants no answer."""
        return self._crowded or task in self._answers

    def _owe(self, task: str, beats: Beats) -> None:
        self._owed.setdefault(task, []).extend(asked(*each) for each in beats)
        self._owing += len(beats)
        while self._owing > OWED:
            _, forgotten = self._owed.popitem(last=False)
            self._owing -= len(forgotten)

    def _settle_owed(self, task: str) -> list[Asked]:
        owed = self._owed.pop(task, [])
        self._owing -= len(owed)
        return owed


def asked(delivery: Delivery, beat: Heartbeat) -> Asked:
    """The address for the answer to the heartbeat."""
    reply_to = delivery.properties.get("reply_to")
    named = reply_to if isinstance(reply_to, str) else ""
    return Asked(beat.token, named, delivery.properties.get("correlation_id"))


def _place(delivery: Delivery) -> Place:
    return delivery.life, delivery.tag


Kept = TypeVar("Kept")


def _keep(kept: OrderedDict[str, Kept], task: str, value: Kept) -> None:
    """Store the value as the newest; beyond KEPT entries, remove the oldest."""
    kept[task] = value
    kept.move_to_end(task)
    if len(kept) > KEPT:
        kept.popitem(last=False)

"""The heartbeats in hand: merged by task, and bounded, so that none crowds out another's.

SWF's answer to one heartbeat of a task is the answer to all that have come meanwhile. Of a worker
that beats in a tight loop only the newest is kept until it is told to SWF. Nothing here does I/O.
"""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from bridge.rabbitmq.delivery import Delivery, Later
from bridge.task import Heartbeat
from bridge.telemetry.outage import Outage

MERGE = 1.0
"""Seconds between two heartbeats of a task to SWF: its time-outs are counted in seconds. SWF's
answer to one holds for all that come within that time."""
IN_HAND = 112
"""Heartbeats that wait at most; more are held by the consumer, as replies are that SWF cannot take
now. With those that it holds they leave a part of the prefetch to replies."""
CROWDED = 64
"""With more, of a task that SWF has known the newest alone waits."""
SHARE = 16
"""Those of one task among them."""
SHARE_OF_KNOWN = 4
"""Those of a task that SWF has known: older ones are acknowledged, and their answers owed."""
OWED = 10_000
"""Answers owed at most; of more, the oldest are never given."""
SOON = 0.1
"""Seconds for which a heartbeat is held that cannot wait here."""
KEPT = 1024
"""Tasks whose newest heartbeat and last answer are known: more than may have one without an
acknowledgement."""

Beats = list[tuple[Delivery, Heartbeat]]
Place = tuple[int, int]
"""Where a delivery stands among all: the life of the channel, and its tag."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What SWF has said to a heartbeat of a task."""

    at: float
    """Monotonic seconds."""
    is_open: bool = True
    cancel: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """Where the answer to a heartbeat is to go; nowhere, where ``reply_to`` is empty."""

    token: str
    reply_to: str
    correlation_id: Any


class Taken(NamedTuple):
    """What a heartbeat that has come leads to."""

    through: Beats
    """Those that need not wait any longer because of it; it may be one of them."""
    answer: Answer | None
    """SWF's answer to them, where it has just given one."""
    later: Later | None
    """It cannot wait here."""
    begins: bool
    """It goes to SWF now."""


class Merge:
    """Which heartbeats go to SWF, and for which its answers are. Safe to use from many threads."""

    def __init__(self, outage: Outage) -> None:
        self.holds = MERGE
        """Seconds for which SWF's answer to one holds for others of its task."""
        self._outage = outage
        self._lock = threading.Lock()
        self._in_hand = 0
        self._waiting: dict[str, Beats] = {}
        """By task: those that wait while a heartbeat is on its way, or was just now."""
        self._newest: OrderedDict[str, tuple[Place, str | None]] = OrderedDict()
        """By task: the details that are to be SWF's last, also where an older one is tried again
        after it."""
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._owed: OrderedDict[str, list[Asked]] = OrderedDict()
        """By task: the answers to those that were overtaken before SWF had answered."""
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
        """Begin a heartbeat of the bridge's own; not where one of the task is under way."""
        with self._lock:
            if task in self._waiting:
                return False
            self._waiting[task] = []
            return True

    def details(self, last: Heartbeat) -> str | None:
        """What is to be told to SWF along with ``last``: the details of the task's newest."""
        with self._lock:
            _, details = self._newest.get(last.task, (None, last.details))
            return details

    def answered(self, task: str, answer: Answer) -> tuple[Beats, list[Asked]]:
        """Note what SWF has said; those that wait no longer, and whose answers were owed.

        That is all that wait, but the newest of an open task: its details are to be told yet.
        """
        with self._lock:
            _keep(self._answers, task, answer)
            newest, _ = self._newest.get(task, (None, None))
            waiting = self._waiting[task]
            stay = [each for each in waiting if answer.is_open and _place(each[0]) == newest]
            through = [each for each in waiting if each not in stay]
            waiting[:] = stay
            return through, self._settle_owed(task)

    def refused(self, task: str) -> Beats:
        """SWF takes no heartbeat with the token: all that wait for it."""
        with self._lock:
            waiting, self._waiting[task] = self._waiting[task], []
            self._settle_owed(task)
            return waiting

    def next(self, task: str) -> Beats:
        """Those that have come meanwhile and go to SWF now; after none the task is forgotten."""
        with self._lock:
            if beats := self._waiting[task]:
                self._waiting[task] = []
            else:
                del self._waiting[task]
            return beats

    def done(self, count: int) -> None:
        """So many that went to SWF, or waited for it, are settled."""
        with self._lock:
            self._in_hand -= count

    # --- under the lock ---

    @property
    def _crowded(self) -> bool:
        """Whether heartbeats come faster than SWF takes them."""
        return self._in_hand >= CROWDED or bool(self._outage.error)

    def _overtaken(self, delivery: Delivery, beat: Heartbeat, answer: Answer | None) -> Beats:
        """Note the newest of the task; those that need not wait any longer because of it.

        That is all, where they can be answered now. Else it is those that want no answer, once SWF
        has known the task or where too many wait, and the oldest of a task that has its share:
        nothing of them is left to be told to SWF, and their answers are owed.
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
        """Whether nothing of it is left to tell SWF: a newer one stands for it, or it is closed.

        Where no answer can be given yet, and one that waits will bring it, it is owed.
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
        """Whether one that wants no answer is done with once there is a newer one."""
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
    """Where the answer to the heartbeat is to go."""
    reply_to = delivery.properties.get("reply_to")
    named = reply_to if isinstance(reply_to, str) else ""
    return Asked(beat.token, named, delivery.properties.get("correlation_id"))


def _place(delivery: Delivery) -> Place:
    return delivery.life, delivery.tag


Kept = TypeVar("Kept")


def _keep(kept: OrderedDict[str, Kept], task: str, value: Kept) -> None:
    """Remember the value as the newest, and forget the oldest of too many."""
    kept[task] = value
    kept.move_to_end(task)
    if len(kept) > KEPT:
        kept.popitem(last=False)

"""Free the slots of tasks that SWF closed without us: timed out, terminated, answered elsewhere.

It reads a bounded number of histories in each round, the oldest task first, and more often when a
window is full. It never uses a heartbeat: that would restart the heartbeat clock of a dead worker.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from bridge.errors import Unavailable
from bridge.flow.settling.peers import Peers
from bridge.flow.timeouts.deadlines import Deadlines
from bridge.journal.entry import Entry
from bridge.journal.journal import Journal
from bridge.journal.slots import Slots
from bridge.swf.client import Swf
from bridge.task import TaskListId

log = logging.getLogger(__name__)

TICK = 1.0
ROUND = 60.0
"""Seconds between two rounds while no window is full and the last round freed nothing."""
ROUND_WHEN_FULL = 2.0
ROUND_WHEN_FULL_CAP = 16.0
"""Maximum of that interval, which doubles after each round that freed nothing. A window may be full
of tasks in work, and SWF allows few reads of histories."""
PER_ROUND = 25
"""Maximum number of histories read in one round."""
YOUNG = 30.0
"""Seconds after its poll before SWF is asked about a task: most are answered by then."""
YOUNG_WHEN_FULL = 2.0
AGAIN = 0.05
"""Seconds between two attempts to take a read of a history from the budget."""
PATIENCE = 120.0


class Reconciler:
    """A part: asks SWF about the tasks that nobody has answered."""

    def __init__(
        self,
        swf: Swf,
        journal: Journal,
        slots: Slots,
        peers: Peers,
        task_list_ids: Sequence[TaskListId],
        *,
        deadlines: Deadlines,
        in_flight_timeout: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = "reconciler"
        self.patience = PATIENCE
        self._monotonic = monotonic
        self.moved = monotonic()
        self._swf = swf
        self._journal = journal
        self._slots = slots
        self._peers = peers
        self._deadlines = deadlines
        self._task_list_ids = task_list_ids
        self._in_flight_timeout = in_flight_timeout
        self._asked: dict[TaskListId | None, int] = {}
        """Where the next round continues, by the full list that it was for (None: all lists)."""
        self._rounds = 0
        self._next_round = self.moved + ROUND
        self._last_round = self.moved
        self._when_full = ROUND_WHEN_FULL
        self._stopping = threading.Event()

    def __repr__(self) -> str:
        return f"<Reconciler next round in {self._next_round - self._monotonic():.0f} s>"

    def run(self) -> None:
        """Reconcile, round by round, until asked to stop."""
        while not self._stopping.wait(TICK):
            self.turn()

    def turn(self) -> None:
        """Free the slots of tasks that are too old, and hold a round if one is due."""
        self.moved = now = self._monotonic()
        self.expire()
        full = self._next_full()
        if full is not None:
            self._next_round = min(self._next_round, self._last_round + self._when_full)
        if now >= self._next_round:
            freed = self.ask(full)
            self._last_round = now
            self._next_round = now + (ROUND_WHEN_FULL if freed else ROUND)

    def _next_full(self) -> TaskListId | None:
        """A list whose window is full, or None; full lists take turns."""
        full = list(filter(self._slots.full, self._task_list_ids))
        return full[self._rounds % len(full)] if full else None

    def stop(self) -> None:
        """Begin no new round."""
        self._stopping.set()

    def ask(self, full: TaskListId | None = None) -> int:
        """Ask SWF about the next tasks, only of list ``full`` if given; count the slots freed."""
        self._rounds += 1
        young = YOUNG if full is None else YOUNG_WHEN_FULL
        candidates = self._journal.handed_over(
            before=time.time() - young,
            after=self._asked.get(full, 0),
            task_list_id=full,
            limit=PER_ROUND,
        )
        self._asked[full] = candidates[-1][0] if len(candidates) == PER_ROUND else 0
        freed = self._ask_about_all(candidates)
        if freed:
            self._when_full = ROUND_WHEN_FULL
        elif full is not None and candidates:
            self._when_full = min(2 * self._when_full, ROUND_WHEN_FULL_CAP)
        return freed

    def _ask_about_all(self, candidates: Sequence[tuple[int, Entry]]) -> int:
        freed = 0
        for _, entry in candidates:
            while not (stopped := self._stopping.is_set()) and not self._deadlines.budget.take():
                self._stopping.wait(AGAIN)
            if stopped:
                break
            self.moved = self._monotonic()
            try:
                freed += self._ask_about(entry)
            except Unavailable as error:
                log.info("reconcile.put_off", extra={"error": str(error)})
                break
        return freed

    def _ask_about(self, entry: Entry) -> bool:
        look = self._swf.look(entry.task)
        self._deadlines.look_at(entry.task, look)
        return look.closed is not None and self._deadlines.let_go(entry.task, look.closed)

    def expire(self) -> None:
        """Free the slots of published tasks older than IN_FLIGHT_TIMEOUT, without asking SWF."""
        too_old = self._journal.handed_over(
            before=time.time() - self._in_flight_timeout, limit=PER_ROUND
        )
        for _, entry in too_old:
            log.warning("task.unanswered", extra={"task": entry.task.id})
            self._peers.released(entry.task.id, "unanswered beyond IN_FLIGHT_TIMEOUT")

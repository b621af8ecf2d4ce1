"""Heartbeats of the bridge's own, for tasks that wait in a queue: until the worker's first word.

Off unless a task list asks for it: a task kept alive looks well while its worker is dead. What SWF
says on the way, that the task is closed or to be cancelled, is passed on at once.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Protocol

from bridge.errors import BadReply, TaskClosed, Unavailable
from bridge.instances import Instances
from bridge.journal import Entry
from bridge.task import ActivityTask
from bridge.window import Label

log = logging.getLogger(__name__)


class Beat(Protocol):
    """The one call of SWF that is made here."""

    def heartbeat(self, token: str, details: str | None) -> bool:
        """Whether SWF asks to cancel the task."""


class Waiting(Protocol):
    """The journal, as far as it is used here."""

    def get(self, task_id: str) -> Entry | None:
        """The task, if it is in hand."""

    def tasks(self, where: str = "TRUE") -> Iterator[Entry]:
        """Every task in hand, the oldest first."""

    def first_word(self, task_id: str) -> None:
        """A worker has spoken of the task."""


class Keepalive:
    """Beats for the tasks of the lists that ask for it. Safe to use from many threads.

    ``later`` is the clock; ``work`` hands a call to the threads that carry heartbeats to SWF.
    ``intervals`` has seconds between two heartbeats by task list, 0 for none.
    """

    def __init__(
        self,
        swf: Beat,
        journal: Waiting,
        instances: Instances,
        *,
        later: Callable[[float, Callable[[], object]], object],
        work: Callable[[Callable[[], object]], object],
        intervals: Mapping[Label, float],
        limit: float,
    ) -> None:
        self._swf = swf
        self._journal = journal
        self._instances = instances
        self._later = later
        self._work = work
        self._intervals = {label: seconds for label, seconds in intervals.items() if seconds}
        self._limit = limit
        self._silent: set[str] = set()
        """The tasks whose worker has not spoken yet."""

    def __repr__(self) -> str:
        return f"<Keepalive {len(self._silent)} tasks>"

    @property
    def on(self) -> bool:
        """Whether any list asks for it."""
        return bool(self._intervals)

    def resume(self) -> None:
        """Go on with the tasks of an earlier life of the daemon."""
        if self.on:
            for entry in self._journal.tasks("NOT first_word"):
                self.watch(entry.task)

    def watch(self, task: ActivityTask) -> None:
        """Keep the task alive, if its list asks for it."""
        interval = self._intervals.get((task.domain, task.task_list))
        if interval and task.id not in self._silent:
            self._silent.add(task.id)
            self._again(task.id, interval)

    def heard(self, task_id: str) -> None:
        """A worker has spoken of the task: from now on keeping it alive is the worker's."""
        if task_id in self._silent:
            self._silent.discard(task_id)
            self._journal.first_word(task_id)
        elif self.on:
            self._instances.spoke(task_id)

    def _again(self, task_id: str, interval: float) -> None:
        self._later(interval, partial(self._work, partial(self._beat, task_id, interval)))

    def _beat(self, task_id: str, interval: float) -> None:
        """On a thread that may wait for SWF."""
        entry = self._journal.get(task_id) if task_id in self._silent else None
        if entry is None or not self._beat_for(entry):
            self._silent.discard(task_id)
        else:
            self._again(task_id, interval)

    def _beat_for(self, entry: Entry) -> bool:
        """Whether to go on."""
        task = entry.task
        if time.time() - task.polled_at > self._limit:
            log.warning("keepalive.ended", extra={"task": task.id, "seconds": self._limit})
            return False
        try:
            if self._swf.heartbeat(task.token, None):
                self._instances.cancel_requested(task.id)
        except TaskClosed:
            self._instances.released(task.id, "closed in SWF")
            return False
        except BadReply as error:
            log.warning("keepalive.refused", extra={"task": task.id, "error": error.detail})
            return False
        except Unavailable as error:
            log.info("keepalive.put_off", extra={"task": task.id, "error": str(error)})
        return True

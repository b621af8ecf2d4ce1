"""Threads that carry on with SWF what others leave for them."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from bridge.scheduling.conversation import Conversation
from bridge.swf.client import Swf
from bridge.swf.runner import Runner

TICK = 1.0
PATIENCE = 60.0

Job = TypeVar("Job")
T = TypeVar("T")


class JobQueue(Generic[Job]):
    """Jobs for executors, the oldest first. ``put`` and ``empty`` are for every thread."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._wakes: list[Callable[[], object]] = []
        self.empty = self._queue.empty

    def __repr__(self) -> str:
        return f"<JobQueue {self._queue.qsize()}>"

    def put(self, job: Job) -> None:
        """Have the job done as soon as an executor has room for it."""
        self._queue.put(job)
        for wake in self._wakes:
            wake()

    def get(self, timeout: float = 0.0) -> Job:
        """The next job, waited for at most so many seconds. Raises queue.Empty."""
        job = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
        if job is None:
            raise Empty
        return job

    def wake_one(self) -> None:
        """Have one who waits in ``get``, or the next who comes, find nothing there."""
        self._queue.put(None)

    def watch(self, wake: Callable[[], object]) -> None:
        """Call ``wake``, which must not block, with each job that is put."""
        self._wakes.append(wake)


class Executor(Generic[Job, T]):
    """A part: a thread that takes as many jobs as its runner has ``room`` for.

    ``converse`` makes a conversation with SWF of each; the runner is told of its result.
    """

    def __init__(
        self,
        name: str,
        jobs: JobQueue[Job],
        converse: Callable[[Job], Conversation[T]],
        runner: Runner[T],
        room: int = 1,
    ) -> None:
        self.name = name
        self.patience = PATIENCE
        self.moved = time.monotonic()
        self._jobs = jobs
        self._converse = converse
        self._runner = runner
        self._room = room
        self._stopping = threading.Event()
        jobs.watch(runner.wake)

    def __repr__(self) -> str:
        return f"<Executor {self.name}, {self._runner.open} jobs>"

    def run(self) -> None:
        """Work until asked to stop; what is begun is brought to its end."""
        while not self._stopping.is_set() or self._runner.open:
            self.turn()

    def stop(self) -> None:
        """Take no more work."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._jobs.wake_one()  # each executor one: whoever takes it, an idle one ends at once

    def turn(self) -> None:
        """Take jobs, wait for one if there is nothing else, and go on with what is answered."""
        self.moved = time.monotonic()
        with suppress(Empty):
            if not self._runner.open:
                self._runner.begin(self._converse(self._jobs.get(TICK)))
            while self._runner.open < self._room and not self._stopping.is_set():
                self._runner.begin(self._converse(self._jobs.get()))
        if self._runner.open:
            self._runner.turn(TICK)


def executors(
    swf: Swf,
    name: str,
    wanted: int,
    jobs: JobQueue[Job],
    converse: Callable[[Job], Conversation[T]],
    *,
    done: Callable[[T], object],
    together: Callable[[], AbstractContextManager[object]],
) -> list[Executor[Job, T]]:
    """Threads that carry on ``wanted`` conversations with SWF side by side."""
    room = swf.room(wanted)
    return [
        Executor(f"{name}-{number}", jobs, converse, swf.runner(room, done, together), room)
        for number in range(1, wanted // room + 1)
    ]

"""Threads that take jobs from a queue and carry them on as conversations with SWF."""

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
    """A first-in, first-out queue of jobs for executors. Any thread may use it."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._wakes: list[Callable[[], object]] = []
        self.empty = self._queue.empty

    def __repr__(self) -> str:
        return f"<JobQueue {self._queue.qsize()}>"

    def put(self, job: Job) -> None:
        """Append a job and wake the executors."""
        self._queue.put(job)
        for wake in self._wakes:
            wake()

    def get(self, timeout: float = 0.0) -> Job:
        """The next job, waiting at most ``timeout`` seconds. Raises queue.Empty."""
        job = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
        if job is None:
            raise Empty
        return job

    def wake_one(self) -> None:
        """Make one call of ``get``, waiting or the next, raise queue.Empty."""
        self._queue.put(None)

    def watch(self, wake: Callable[[], object]) -> None:
        """Call ``wake``, which must not block, after each ``put``."""
        self._wakes.append(wake)


class Executor(Generic[Job, T]):
    """A part: a thread that carries on up to ``room`` jobs at a time with its runner.

    ``converse`` turns a job into a conversation with SWF. The runner reports its result.
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
        """Carry on jobs until asked to stop and every job begun has ended."""
        while not self._stopping.is_set() or self._runner.open:
            self.turn()

    def stop(self) -> None:
        """Take no more jobs."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._jobs.wake_one()  # one for each executor, so that all idle ones end at once

    def turn(self, timeout: float = TICK) -> None:
        """Take jobs, then go on with those SWF has answered.

        Waits at most ``timeout`` seconds for a job if none is open, and as long for an answer.
        """
        self.moved = time.monotonic()
        with suppress(Empty):
            if not self._runner.open:
                self._runner.begin(self._converse(self._jobs.get(timeout)))
            while self._runner.open < self._room and not self._stopping.is_set():
                self._runner.begin(self._converse(self._jobs.get()))
        if self._runner.open:
            self._runner.turn(timeout)


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
    """The executors that together carry on ``wanted`` conversations side by side."""
    room = swf.room(wanted)
    return [
        Executor(f"{name}-{number}", jobs, converse, swf.runner(room, done, together), room)
        for number in range(1, wanted // room + 1)
    ]

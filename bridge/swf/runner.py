"""Conversations with SWF, and the runners and executors with which threads carry them on.

A conversation is a coroutine that awaits calls to SWF, one after the other. It reads as if each
blocked, and holds no thread while it waits. With boto3 a runner carries on one conversation and
blocks in its calls. With libcurl a runner carries on up to ``room`` conversations, and none keeps
the others waiting.

On the same wire an asyncio loop takes 3.9 times the CPU time for a conversation of one call that
goes alone (31 µs, here 8), and 2.3 times if 16 go side by side (11 µs, here 5): medians of 9
alternating runs on Python 3.11, without the adapter that libcurl's sockets would need.
"""

import threading
import time
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

Answer = Mapping[str, Any]

ANSWER_LIMIT = {True: 1024 * 1024, False: 64 * 1024 * 1024}
"""Bytes of an answer at most, by ``Call.held``; a longer answer fails the call. A task whose input
is 32,768 escaped characters takes 0.2 MB; a page of history holds up to 200 events of that size.
"""
TICK = 1.0
PATIENCE = 60.0

Job = TypeVar("Job")
T = TypeVar("T")
Conversation = Coroutine[Any, Any, T]
"""A conversation with SWF, and its result."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call of one operation of SWF's API. Awaiting it returns the answer or raises its error."""

    operation: str
    fields: Mapping[str, Any]
    held: bool = False
    """Whether SWF may hold the call open, as it does a poll."""

    def __await__(self) -> Generator["Call", Answer, Answer]:
        return (yield self)


class Wire(Protocol):
    """Makes a runner's calls. One thread owns it; other threads may call only ``wake``."""

    def begin(self, call: Call, whom: Any) -> None:
        """Start the call; ``ended`` returns ``whom`` with its answer. Never blocks or raises."""

    def ended(self, timeout: float) -> Sequence[tuple[Any, Answer | Exception]]:
        """Ended calls: ``whom``, answer or error. Waits ``timeout`` seconds for one or ``wake``."""

    def wake(self) -> None:
        """Make ``ended`` return soon."""


class Caller(Protocol):
    """A way to call SWF: one attempt a call. Any thread may use it, but a wire has one owner."""

    side_by_side: bool
    """Whether one wire can have many calls open."""

    def call(self, call: Call) -> Answer:
        """Make the call and block until its answer. Raises the errors of ``swf.errors``."""

    def wire(self, room: int, *, held: bool) -> Wire:
        """A wire for one runner: at most ``room`` calls at a time, all of them ``held`` or none."""


class InPlace:
    """A wire that makes its calls inside ``ended``, one at a time, blocking."""

    def __init__(self, make: Callable[[Call], Answer]) -> None:
        self._make = make
        self._begun: list[tuple[Call, Any]] = []

    def begin(self, call: Call, whom: Any) -> None:
        """Implement ``Wire.begin``."""
        self._begun.append((call, whom))

    def ended(self, timeout: float) -> Sequence[tuple[Any, Answer | Exception]]:
        """Implement ``Wire.ended``; only the call's own time-out bounds the wait."""
        del timeout
        begun, self._begun = self._begun, []
        return [(whom, self._made(call)) for call, whom in begun]

    def wake(self) -> None:
        """Do nothing: a blocking call cannot be interrupted."""

    def _made(self, call: Call) -> Answer | Exception:
        try:
            return self._make(call)
        except Exception as error:  # noqa: BLE001 - raised again where the call is awaited
            return error


class _Party(Generic[T]):
    """An open conversation with its own context (contextvars)."""

    __slots__ = ("conversation", "run")

    def __init__(self, conversation: Conversation[T]) -> None:
        self.conversation = conversation
        self.run = copy_context().run


class Runner(Generic[T]):
    """Carries on conversations. One thread owns it; other threads may call only ``wake``.

    Each batch of conversations goes on inside one context of ``together``, such as one commit of
    the journal. After it, ``done`` is called with the result of each conversation that has ended.
    """

    def __init__(
        self,
        wire: Wire,
        done: Callable[[T], object],
        together: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.open = 0
        """The number of open conversations."""
        self.wake = wire.wake
        self._wire = wire
        self._done = done
        self._together = together
        self._new: list[tuple[_Party[T], None]] = []

    def begin(self, conversation: Conversation[T]) -> None:
        """Start the conversation in the next turn."""
        self.open += 1
        self._new.append((_Party(conversation), None))

    def turn(self, timeout: float) -> None:
        """Start the new conversations, then go on with those whose calls have ended.

        Waits at most ``timeout`` seconds for the first answer, and not at all if a new
        conversation has ended. Raises the first error of a conversation, after all have gone on.
        """
        if self._new:
            new, self._new = self._new, []
            if self._go_on_all(new):
                return
        self._go_on_all(self._wire.ended(timeout))

    def _go_on_all(self, answered: Sequence[tuple[Any, Answer | Exception | None]]) -> bool:
        """Go on with each conversation; whether any has ended."""
        if not answered:
            return False
        results: list[T] = []
        errors: list[BaseException] = []
        try:
            with self._together():
                for party, answer in answered:
                    try:
                        self._go_on(party, answer, results)
                    except BaseException as error:  # noqa: BLE001 - raised below
                        errors.append(error)
        finally:
            for result in results:
                self._done(result)
        if errors:
            raise errors[0]
        return bool(results)

    def _go_on(self, party: _Party[T], answer: Answer | Exception | None, ended: list[T]) -> None:
        """Resume the conversation with the answer, or raise it there if it is an exception."""
        conversation = party.conversation
        failed = isinstance(answer, Exception)
        resume: Callable[..., Call] = conversation.throw if failed else conversation.send
        try:
            call = party.run(resume, answer)
        except StopIteration as end:
            self.open -= 1
            ended.append(end.value)
        except BaseException:
            self.open -= 1
            raise
        else:
            self._wire.begin(call, party)


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


def complete(conversation: Conversation[T], make: Callable[[Call], Answer]) -> T:
    """Run the conversation to its end with blocking calls. Returns its result."""
    results: list[T] = []
    runner = Runner(InPlace(make), results.append)
    runner.begin(conversation)
    while runner.open:
        runner.turn(0.0)
    return results[0]

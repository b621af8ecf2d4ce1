"""Conversations with SWF, and the runners with which threads carry them on.

A conversation is a coroutine that awaits calls to SWF, one after the other, and reads as if each
blocked. With boto3 a runner carries on one conversation and blocks in its calls. With libcurl a
runner carries on up to ``room`` conversations, and none keeps the others waiting.

On the same wire an asyncio loop takes 3.9 times the CPU time for a conversation of one call that
goes alone (31 µs, here 8), and 2.3 times if 16 go side by side (11 µs, here 5): medians of 9
alternating runs on Python 3.11, without the adapter that libcurl's sockets would need.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from bridge.scheduling.conversation import Conversation, Ended, advance

Answer = Mapping[str, Any]

ANSWER_LIMIT = {True: 1024 * 1024, False: 64 * 1024 * 1024}
"""Bytes of an answer at most, by ``Call.held``; a longer answer fails the call. A task whose input
is 32,768 escaped characters takes 0.2 MB; a page of history holds up to 200 events of that size.
"""
T = TypeVar("T")


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
        try:
            call = advance(party.conversation, answer, party.run)
        except BaseException:
            self.open -= 1
            raise
        if isinstance(call, Ended):
            self.open -= 1
            ended.append(call.result)
        else:
            self._wire.begin(call, party)


def complete(conversation: Conversation[T], make: Callable[[Call], Answer]) -> T:
    """Run the conversation to its end with blocking calls. Returns its result."""
    answer: Answer | Exception | None = None
    while not isinstance(call := advance(conversation, answer), Ended):
        try:
            answer = make(call)
        except Exception as error:  # noqa: BLE001 - raised again where the call is awaited
            answer = error
    return call.result

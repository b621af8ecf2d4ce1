"""Conversations with SWF, and the runners by which threads carry them on.

A conversation is a coroutine that awaits calls of SWF, one after the other, and reads as if each
blocked. How many of them a thread carries on side by side is its runner's affair: with boto3 one,
whose calls are made in place; with libcurl as many as there is room for, none of which keeps the
others waiting.

An asyncio loop on the same wire takes 3.9 times the processor time for a conversation of one call
where each goes alone (31 µs, here 8), 2.3 times where 16 go side by side (11 µs, here 5): medians
of 9 runs by turns on Python 3.11, without the adapter that libcurl's sockets would need.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from bridge.scheduling.conversation import Conversation, Ended, advance

Answer = Mapping[str, Any]

ANSWER_LIMIT = {True: 1024 * 1024, False: 64 * 1024 * 1024}
"""Bytes that an answer may have, by whether the call is held: a longer one counts as none. A task
with an input of 32,768 characters that are all escaped takes a fifth of a megabyte; a page of a
history holds up to 200 events with as much each.
"""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of an operation of SWF's API; whoever awaits it gets the answer, or its error."""

    operation: str
    fields: Mapping[str, Any]
    held: bool = False
    """Whether the service holds it, as a poll."""

    def __await__(self) -> Generator["Call", Answer, Answer]:
        return (yield self)


class Wire(Protocol):
    """Where calls are made. Owned by one thread; only ``wake`` is for others."""

    def begin(self, call: Call, whom: Any) -> None:
        """Make the call, for whom ``ended`` will name. Neither blocks nor raises."""

    def ended(self, timeout: float) -> Sequence[tuple[Any, Answer | Exception]]:
        """Whose calls have ended, with answers or errors; waits for the first, or ``wake``."""

    def wake(self) -> None:
        """Have ``ended`` return soon."""


class Caller(Protocol):
    """A way to call SWF: one attempt a call. Safe to use from many threads, but for a wire."""

    side_by_side: bool
    """Whether one thread can have many calls under way."""

    def call(self, call: Call) -> Answer:
        """The answer, waited for. Raises the errors of ``swf.errors``."""

    def wire(self, room: int, *, held: bool) -> Wire:
        """Where the calls of a runner are made, at most ``room`` side by side, all held or none."""


class InPlace:
    """A wire on which a call is made while its end is waited for: one at a time."""

    def __init__(self, make: Callable[[Call], Answer]) -> None:
        self._make = make
        self._begun: list[tuple[Call, Any]] = []

    def begin(self, call: Call, whom: Any) -> None:
        """As ``Wire``."""
        self._begun.append((call, whom))

    def ended(self, timeout: float) -> Sequence[tuple[Any, Answer | Exception]]:
        """As ``Wire``, but that the call's own time-out bounds the wait."""
        del timeout
        begun, self._begun = self._begun, []
        return [(whom, self._made(call)) for call, whom in begun]

    def wake(self) -> None:
        """Nothing: whoever waits here waits for an answer."""

    def _made(self, call: Call) -> Answer | Exception:
        try:
            return self._make(call)
        except Exception as error:  # noqa: BLE001 - raised again where the call is awaited
            return error


class _Party(Generic[T]):
    """A conversation under way, in a context of its own."""

    __slots__ = ("conversation", "run")

    def __init__(self, conversation: Conversation[T]) -> None:
        self.conversation = conversation
        self.run = copy_context().run


class Runner(Generic[T]):
    """The conversations that one thread carries on; owned by it, but for ``wake``.

    What answers lead to is done ``together``, as one commit of the journal; only then ``done`` is
    told of the results of those conversations that have ended.
    """

    def __init__(
        self,
        wire: Wire,
        done: Callable[[T], object],
        together: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.open = 0
        """Conversations under way."""
        self.wake = wire.wake
        self._wire = wire
        self._done = done
        self._together = together
        self._new: list[tuple[_Party[T], None]] = []

    def begin(self, conversation: Conversation[T]) -> None:
        """Carry the conversation on from the next turn on."""
        self.open += 1
        self._new.append((_Party(conversation), None))

    def turn(self, timeout: float) -> None:
        """Go on with the new conversations, then with those that get answers.

        Waits at most so long for the first answer, and not where a new one has ended at once.
        Whatever one conversation raises, the others go on first; the first error is raised then.
        """
        if self._new:
            new, self._new = self._new, []
            if self._go_on_all(new):
                return
        self._go_on_all(self._wire.ended(timeout))

    def _go_on_all(self, answered: Sequence[tuple[Any, Answer | Exception | None]]) -> bool:
        """Whether any has ended."""
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
    """The conversation's result, each of its calls made here and now."""
    answer: Answer | Exception | None = None
    while not isinstance(call := advance(conversation, answer), Ended):
        try:
            answer = make(call)
        except Exception as error:  # noqa: BLE001 - raised again where the call is awaited
            answer = error
    return call.result

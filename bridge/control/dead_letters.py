"""The dead letters, as an operator asks of them: list, show, replay, drop.

A letter is replayed by publishing it, confirmed, before it is acknowledged: a crash in between
leaves it in both queues, never in none.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from bridge.control.dead_letter import SHORTEST_ID, Choice, Letter
from bridge.control.dead_letter_queue import Visit
from bridge.control.request import Answers, Json, Request
from bridge.errors import Declined, Unavailable
from bridge.message import Message
from bridge.rabbitmq.publisher import Done, Fate

log = logging.getLogger(__name__)

TICK = 1.0
LEAVE_TIMEOUT = 5.0


class Publisher(Protocol):
    """The publisher, as far as it is used here."""

    ready: threading.Event

    def publish(self, message: Message, done: Done, *, alone: bool = False) -> None:
        """Publish, and tell what became of it."""


class LetterErrands:
    """The commands ``dead …``; one visit at a time, for a letter is with one visitor alone."""

    def __init__(
        self,
        visit: Callable[..., Visit],
        publisher: Publisher,
        *,
        reply_queue: str,
        halted: Callable[[], bool],
    ) -> None:
        self._visit = visit
        self._publisher = publisher
        self._reply_queue = reply_queue
        self._halted = halted
        self._one_visit = threading.Lock()

    def list_letters(self, request: Request) -> Answers:
        """Every letter that is chosen, in the order of the queue."""
        choice, limit = Choice.of(request), request.count("limit")
        payload = request.flag("payload")
        rows: list[Json] = []

        def see(visit: Visit, letter: Letter) -> None:
            if choice(letter):
                rows.append(letter.summary() | (letter.whole() if payload else {}))
                if len(rows) == limit:
                    visit.enough()

        visit = self._visit(see)
        yield from self._make(visit)
        yield from ({"row": row} for row in rows)
        yield {"result": {"letters": visit.count, "seen": visit.seen, "shown": len(rows)}}

    def show_letter(self, request: Request) -> Answers:
        """One letter, by its id, the beginning of it, or its position."""
        name, payload = request.text("id"), request.flag("payload")
        is_position = name.isascii() and name.isdigit() and len(name) < SHORTEST_ID
        choice = Choice() if is_position else Choice.of(Request({"ids": [name]}))
        found: list[Json] = []

        def see(visit: Visit, letter: Letter) -> None:
            if letter.position == int(name) if is_position else choice(letter):
                headers = sorted(map(str, letter.properties["headers"]))
                whole = letter.whole() if payload else {"headerNames": headers}
                found.append(letter.summary() | whole)
                visit.enough()

        yield from self._make(self._visit(see))
        if not found:
            raise Declined("not-found", f"no dead letter {name}")
        yield {"result": found[0]}

    def replay(self, request: Request) -> Answers:
        """Send each letter that is chosen to the reply queue, as its worker sent it."""
        if not self._publisher.ready.is_set():
            raise Unavailable("RabbitMQ", "away or blocked")

        def act(visit: Visit, letter: Letter) -> None:
            visit.replay(letter, letter.reply(self._reply_queue), self._publisher.publish)

        yield from self._change(request, act, "letters.replayed")

    def drop(self, request: Request) -> Answers:
        """Take each letter that is chosen out of the queue, for good."""
        yield from self._change(request, Visit.take, "letters.dropped")

    def _change(
        self, request: Request, act: Callable[[Visit, Letter], object], event: str
    ) -> Answers:
        choice, limit = _meant(request), request.count("limit")
        dry = request.flag("dry_run")
        chosen: Counter[str] = Counter()

        def see(visit: Visit, letter: Letter) -> None:
            if choice(letter):
                chosen[letter.id] += 1
                if not dry:
                    act(visit, letter)
                if chosen.total() == limit:
                    visit.enough()

        visit = self._visit(see)
        try:
            yield from self._make(visit, chosen)
        finally:
            if chosen and not dry:
                log.info(event, extra={"count": chosen.total()})
        missing = [each for each in choice.ids if not any(id_.startswith(each) for id_ in chosen)]
        fates = {fate.value: visit.replayed[fate.value] for fate in Fate if visit.replayed}
        yield {
            "result": {
                "letters": visit.count,
                "matched": chosen.total(),
                **fates,
                "reasons": dict(visit.reasons),
                "missing": missing,
                "dryRun": dry,
            }
        }

    def _make(self, visit: Visit, chosen: Counter[str] | None = None) -> Answers:
        """Make the visit, with a word of progress each second. Raises Declined and Unavailable."""
        if not self._one_visit.acquire(timeout=LEAVE_TIMEOUT):
            raise Declined("busy", "another command is at the dead letters")
        thread = threading.Thread(target=visit.run, name="dead-letters", daemon=True)
        try:
            thread.start()
            while _lives(thread):
                if self._halted():
                    raise Declined("stopping", "the daemon is stopping")
                done = visit.seen if chosen is None else chosen.total()
                yield {"progress": {"done": done, "total": visit.count, "seen": visit.seen}}
        finally:
            visit.stop()
            thread.join(LEAVE_TIMEOUT)
            self._one_visit.release()
        if visit.error is not None:
            raise visit.error


def _meant(request: Request) -> Choice:
    choice = Choice.of(request)
    if choice == Choice() and not request.flag("all"):
        raise Declined("usage", "name letters by id or by filters, or say all")
    return choice


def _lives(thread: threading.Thread) -> bool:
    thread.join(TICK)
    return thread.is_alive()

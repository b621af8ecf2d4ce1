"""The commands ``dead list``, ``show``, ``replay`` and ``drop``, on the daemon's side.

A replay is published and confirmed before the dead letter is acknowledged. A crash in between
leaves the message in both queues; it is never lost.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable

from bridge.control.dead_letter import SHORTEST_ID, DeadLetter, DeadLetterFilter
from bridge.control.dead_letter_queue import DeadLetterConsumer
from bridge.control.request import Json, Output, Request
from bridge.errors import Declined, Unavailable
from bridge.rabbitmq.publisher import Fate, Publisher

log = logging.getLogger(__name__)

TICK = 1.0
LEAVE_TIMEOUT = 5.0
"""Seconds to wait for another command to finish, and for the consumer's thread to end."""
LIST_LIMIT = 128 * 1024 * 1024
"""Bytes of bodies, headers and details in one list. The rows stay in memory until RabbitMQ has
requeued the dead letters."""
ROW_SIZE = 512
"""Estimated bytes of a row without its body, headers and detail."""
HEADER_SIZE = 128
"""Estimated bytes of a header's entry in a row, without its text."""


class DeadLetterCommands:
    """The commands ``dead …``. One runs at a time: two consumers would share the messages.

    A command waits ``leave_timeout`` seconds for another to finish. A list has ``list_limit`` bytes
    at most.
    """

    def __init__(
        self,
        consume: Callable[..., DeadLetterConsumer],
        publisher: Publisher,
        *,
        reply_queue: str,
        halted: Callable[[], bool],
        leave_timeout: float = LEAVE_TIMEOUT,
        list_limit: int = LIST_LIMIT,
    ) -> None:
        self._consume = consume
        self._publisher = publisher
        self._reply_queue = reply_queue
        self._halted = halted
        self._leave_timeout = leave_timeout
        self._list_limit = list_limit
        self._one_at_a_time = threading.Lock()
        self.commands = {
            "dead list": self.list_dead_letters,
            "dead show": self.show_dead_letter,
            "dead replay": self.replay,
            "dead drop": self.drop,
        }

    def list_dead_letters(self, request: Request) -> Output:
        """The dead letters that the filter selects, in the order of the queue."""
        wanted, limit = DeadLetterFilter.of(request), request.count("limit")
        payload = request.flag("payload")
        rows: list[Json] = []
        room = self._list_limit

        def on_dead_letter(consumer: DeadLetterConsumer, each: DeadLetter) -> None:
            nonlocal room
            if room >= 0 and wanted(each):
                row = each.summary() | (each.whole() if payload else {})
                room -= _memory(row) + (len(each.body) if payload else 0)
                rows.append(row)
                if len(rows) == limit or room < 0:
                    consumer.finish()

        consumer = self._consume(on_dead_letter)
        yield from self._run(consumer)
        if room < 0:
            raise Declined(
                "usage", f"more than {self._list_limit >> 20} MiB: list fewer, with --limit"
            )
        yield from ({"row": row} for row in rows)
        told = {"letters": consumer.count, "seen": consumer.seen, "shown": len(rows)}
        yield {"result": told | {"notBack": consumer.not_back}}

    def show_dead_letter(self, request: Request) -> Output:
        """One dead letter, by the first digits of its id or by its position in the queue."""
        name, payload = request.text("id"), request.flag("payload")
        is_position = name.isascii() and name.isdigit() and len(name) < SHORTEST_ID
        wanted = (
            DeadLetterFilter() if is_position else DeadLetterFilter.of(Request({"ids": [name]}))
        )
        found: list[Json] = []

        def on_dead_letter(consumer: DeadLetterConsumer, each: DeadLetter) -> None:
            if each.position == int(name) if is_position else wanted(each):
                headers = sorted(map(str, each.properties["headers"]))
                whole = each.whole() if payload else {"headerNames": headers}
                found.append(each.summary() | whole)
                consumer.finish()

        consumer = self._consume(on_dead_letter)
        yield from self._run(consumer)
        if not found:
            raise Declined("not-found", f"no dead letter {name}")
        yield {"result": found[0] | {"notBack": consumer.not_back}}

    def replay(self, request: Request) -> Output:
        """Publish each selected dead letter to the reply queue again."""
        if not self._publisher.ready.is_set():
            raise Unavailable("RabbitMQ", "away or blocked")

        def act(consumer: DeadLetterConsumer, each: DeadLetter) -> None:
            consumer.replay(each, each.reply(self._reply_queue), self._publisher.publish)

        yield from self._change(request, act, "dead_letters.replayed")

    def drop(self, request: Request) -> Output:
        """Remove each selected dead letter from the queue for good."""
        yield from self._change(request, DeadLetterConsumer.acknowledge, "dead_letters.dropped")

    def _change(
        self, request: Request, act: Callable[[DeadLetterConsumer, DeadLetter], object], event: str
    ) -> Output:
        wanted, limit = _selected(request), request.count("limit")
        dry = request.flag("dry_run")
        chosen: Counter[str] = Counter()

        def on_dead_letter(consumer: DeadLetterConsumer, each: DeadLetter) -> None:
            if wanted(each):
                chosen[each.id] += 1
                if not dry:
                    act(consumer, each)
                if chosen.total() == limit:
                    consumer.finish()

        consumer = self._consume(on_dead_letter)
        try:
            yield from self._run(consumer, chosen)
        finally:
            if chosen and not dry:
                log.info(event, extra={"count": chosen.total()})
        missing = [each for each in wanted.ids if not any(id_.startswith(each) for id_ in chosen)]
        fates = {fate.value: consumer.replayed[fate.value] for fate in Fate if consumer.replayed}
        yield {
            "result": {
                "letters": consumer.count,
                "matched": chosen.total(),
                **fates,
                "reasons": dict(consumer.reasons),
                "missing": missing,
                "dryRun": dry,
                "notBack": consumer.not_back,
            }
        }

    def _run(self, consumer: DeadLetterConsumer, chosen: Counter[str] | None = None) -> Output:
        """Run the consumer; yield progress every second. Raises Declined and Unavailable."""
        if not self._one_at_a_time.acquire(timeout=self._leave_timeout):
            raise Declined("busy", "another command reads the dead letters")
        thread = threading.Thread(target=consumer.run, name="dead-letters", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._one_at_a_time.release()
            raise Unavailable("NoThread", str(error)) from None
        try:
            while _lives(thread):
                if self._halted():
                    raise Declined("stopping", "the daemon is stopping")
                done = consumer.seen if chosen is None else chosen.total()
                yield {"progress": {"done": done, "total": consumer.count, "seen": consumer.seen}}
        finally:
            consumer.stop()
            thread.join(self._leave_timeout)
            self._one_at_a_time.release()
        if consumer.error is not None:
            raise consumer.error


def _selected(request: Request) -> DeadLetterFilter:
    choice = DeadLetterFilter.of(request)
    if choice == DeadLetterFilter() and not request.flag("all"):
        raise Declined("usage", "name dead letters by id or by filters, or say all")
    return choice


def _memory(row: Json) -> int:
    """Estimated bytes of a row without its body."""
    headers = row.get("headers", {}).items()
    named = sum(HEADER_SIZE + len(name) + len(str(value)) for name, value in headers)
    return ROW_SIZE + len(row["detail"]) + named


def _lives(thread: threading.Thread) -> bool:
    thread.join(TICK)
    return thread.is_alive()

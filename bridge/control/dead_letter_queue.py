"""Reads the dead-letter queue once, on a connection and a thread of its own.

One consumer receives every message and acknowledges only messages that a command removes. When the
channel closes, RabbitMQ requeues the rest in order. Several consumers, ``basic.get``, or consuming
only some messages would change the order (RabbitMQ 3.10). Each read adds one to a message's
``x-delivery-count``; the bridge declares the queue with a limit of 1,000,000.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from bridge.control.dead_letter import DeadLetter
from bridge.errors import Unavailable
from bridge.message.message import Message
from bridge.rabbitmq.amqp import Tls, from_pika, limit_bodies
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.publisher import Done, Fate, Receipt
from bridge.rabbitmq.setup import Step
from bridge.rabbitmq.topology import QUORUM, Queue

PREFETCH_MOST = 65_535
OUTSTANDING = 64
"""Replays that may wait for a confirm at the same time."""
CONFIRM_TIMEOUT = 20.0
"""Seconds without any confirm after which the command fails."""
CONFIRM_LOOK = 0.1
"""Seconds between two checks for ``stop`` during a wait for a confirm."""
IDLE = 5.0
"""Seconds without a delivery after which another consumer is assumed to hold the rest."""
RETURN_TIMEOUT = 10.0
"""Seconds to wait, at most, until RabbitMQ has requeued the unacknowledged messages."""
RETURN_STEP = 0.02
"""Seconds between two looks at whether it has."""

Replay = Callable[[Message, Done], object]


class DeadLetterConsumer(Connection):
    """Delivers each message of the dead-letter queue once, in order, to ``on_dead_letter``.

    ``on_dead_letter`` runs on the thread of ``run``. It may call ``acknowledge`` or ``replay``;
    otherwise RabbitMQ requeues the message. Its result is ignored. ``run`` returns when the queue
    holds the unacknowledged messages again, after ``return_timeout`` with ``not_back`` set, or with
    ``error`` set.
    """

    def __init__(
        self,
        urls: Iterable[str],
        tls: Tls,
        queue: str,
        on_dead_letter: "Callable[[DeadLetterConsumer, DeadLetter], object]",
        *,
        declare: bool,
        confirm_timeout: float = CONFIRM_TIMEOUT,
        return_timeout: float = RETURN_TIMEOUT,
    ) -> None:
        super().__init__("dead letters", urls, tls, [Queue(queue, QUORUM)], declare=declare)
        self.count = 0
        """Ready messages in the queue when consuming began."""
        self.seen = 0
        self.not_back = 0
        """Unacknowledged messages that the queue did not hold again when ``run`` returned."""
        self.error: Unavailable | None = None
        self.replayed: Counter[str] = Counter()
        """The number of replays by the fate of their publish."""
        self.reasons: Counter[str] = Counter()
        self._queue = queue
        self._confirm_timeout = confirm_timeout
        self._return_timeout = return_timeout
        self._on_dead_letter = on_dead_letter
        self._held = 0
        self._receipts: SimpleQueue[tuple[int, Receipt]] = SimpleQueue()
        self._outstanding = 0
        self._last = time.monotonic()
        self._arrived = self._enough = self._leaving = self._left = False

    def run(self) -> None:
        """Connect to the first address that answers, and consume there."""
        while True:
            self.live(self._addresses.next())
            if self._arrived or self._stopping.is_set() or self._addresses.tried_all:
                break
        if not self._left:
            self.error = Unavailable(
                "RabbitMQ", str(self._error or "reading the dead letters was cut short")
            )

    # --- called by ``on_dead_letter``, on the thread of ``run`` ---

    def acknowledge(self, dead_letter: DeadLetter) -> None:
        """Remove the message from the queue for good."""
        self._channel.basic_ack(dead_letter.tag)
        self._held -= 1

    def replay(self, dead_letter: DeadLetter, message: Message, publish: Replay) -> None:
        """Publish ``message``; acknowledge the dead letter once RabbitMQ has confirmed it."""
        self._outstanding += 1
        publish(message, partial(self._receive, dead_letter.tag))
        while self._outstanding >= OUTSTANDING:  # no other work needs this connection
            self._settle(*self._next_receipt())

    def finish(self) -> None:
        """Stop after the current message."""
        self._enough = True

    def _receive(self, tag: int, receipt: Receipt) -> None:
        """Hand the receipt to the thread of ``run``; called on the publisher's thread."""
        self._receipts.put((tag, receipt))
        self.wake()

    def _next_receipt(self) -> tuple[int, Receipt]:
        deadline = time.monotonic() + self._confirm_timeout
        while time.monotonic() < deadline and not self._stopping.is_set():
            with suppress(Empty):
                return self._receipts.get(timeout=CONFIRM_LOOK)
        raise TimeoutError("no confirm: what is on its way may come twice")

    def _settle(self, tag: int, receipt: Receipt) -> None:
        self._outstanding -= 1
        self._last = time.monotonic()
        self.replayed[receipt.fate.value] += 1
        if receipt.fate is Fate.CONFIRMED:
            self._channel.basic_ack(tag)
            self._held -= 1
        else:
            self.reasons[receipt.detail] += 1

    # --- the connection ---

    async def _setup(self) -> None:
        self._arrived = True
        channel = self._channel
        limit_bodies(channel)
        self.count = await self._waiting(channel)
        if not self.count:
            return
        # Consume all messages even where few are wanted: RabbitMQ puts a requeued message behind
        # messages that were requeued earlier.
        await Step(
            "limit the prefetch",
            lambda done: channel.basic_qos(
                prefetch_count=self.count if self.count <= PREFETCH_MOST else 0, callback=done
            ),
        )
        on_delivery = self.guarded(self._on_delivery)
        await Step(
            f"consume from queue {self._queue}",
            lambda done: channel.basic_consume(self._queue, on_delivery, callback=done),
        )
        self._last = time.monotonic()

    async def _waiting(self, channel: Any) -> int:
        """The number of ready messages in the queue."""
        frame = await Step(
            f"count queue {self._queue}",
            lambda done: channel.queue_declare(self._queue, passive=True, callback=done),
        )
        return int(frame.method.message_count)

    def _on_delivery(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._held += 1
        self._last = time.monotonic()
        if self._is_over() or self._leaving or self._stopping.is_set():
            return  # published after the count, perhaps a replay dead-lettered again
        self.seen += 1
        self._on_dead_letter(
            self, DeadLetter(self.seen, method.delivery_tag, body, from_pika(properties))
        )
        self._work()

    def _is_over(self) -> bool:
        return self._enough or self.seen >= self.count

    def _work(self) -> None:
        while self._outstanding and not self._receipts.empty():
            self._settle(*self._receipts.get())
        if self._is_over() and not self._outstanding:
            self._leave()

    def _tick(self) -> None:
        quiet = time.monotonic() - self._last
        if self._outstanding and quiet > self._confirm_timeout:
            self.abort(TimeoutError("no confirm: what is on its way may come twice"))
        elif not self._outstanding and quiet > IDLE:
            self._enough = True
            self._work()

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            self._run(self._give_back(), self._on_wake)

    async def _give_back(self) -> None:
        """Close the channel, and wait until the messages are ready again for the next consumer."""
        channel = self._channel
        await Step("close the channel", partial(_close, channel))
        another = await self._open_channel()
        deadline = time.monotonic() + self._return_timeout
        while missing := max(0, self._held - await self._waiting(another)):
            if time.monotonic() >= deadline:
                self.not_back = missing
                break
            await Step("wait", lambda done: self._call_later(RETURN_STEP, done))
        self._left = True
        self._stopping.set()

    def _on_channel_closed(self, channel: Any, error: BaseException) -> None:
        if not self._leaving:
            super()._on_channel_closed(channel, error)

    def _lost(self, error: BaseException | None) -> None:
        """Do nothing: RabbitMQ requeues unacknowledged messages."""


def _close(channel: Any, done: Callable[..., object]) -> None:
    channel.add_on_close_callback(done)
    channel.close()

"""Consume what comes back: each delivery is handed on, and its outcome carried out here.

An outcome comes at any time from any thread. What it asks of RabbitMQ is done on this
connection's own thread, and only while the delivery belongs to the present life of the channel:
tags begin anew with each, and a stale one would acknowledge another message.

What cannot be worked on now is held, set aside, or sent to the tail of its queue, so that neither
memory nor the prefetch is filled by it and the others go on:

- SWF does not take it now: held, with its body, up to HELD_LIMIT and HELD_FOR; then the tail.
- Its body would be over the budget: set aside until there is room.
- The dead-letter queue does not take it: set aside; one of them is tried again every
  UNPARKED_RETRY seconds.

The prefetch grows with what is set aside.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bridge.message.message import Message
from bridge.rabbitmq.amqp import Tls, from_pika, limit_bodies
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.copies import to_the_tail
from bridge.rabbitmq.delivery import Ack, Delivery, Later, Outcome, Park
from bridge.rabbitmq.depth import Depth
from bridge.rabbitmq.parking import UNPARKED_RETRY, Parking
from bridge.rabbitmq.publisher import Done, Fate, Receipt
from bridge.rabbitmq.subscription import Subscription
from bridge.rabbitmq.topology import QUORUM, Item, Queue
from bridge.rabbitmq.unacked import Aside, Unacked
from bridge.telemetry.outage import Outage

log = logging.getLogger(__name__)

PREFETCH = 256
PREFETCH_MOST = 32_768
"""With all that is lent for replies which are set aside."""
HELD_LIMIT = PREFETCH // 2
"""With more replies held than this, the one held longest goes to the tail of the queue."""
HELD_FOR = 600.0
"""Seconds after which a reply that SWF cannot take goes to the tail of the queue."""
TAIL_PACE = 100.0
"""Replies a second that go to the tail at most: they come round again."""
TAIL_BYTES = 4 * 1024 * 1024
"""Bytes a second of the same."""
BUDGET = 64 * 1024 * 1024
"""Bytes of bodies in hand at most; one alone may have more."""
SPARE = 64
"""With fewer left of the prefetch beside what is set aside, more are asked for."""
TAIL_RETRY = 5.0


@dataclass(frozen=True, slots=True)
class _Copied:
    """A copy of the delivery was published, or not."""

    parked: Park | None
    """Why the copy is a dead letter; else it is one for the tail."""
    receipt: Receipt


class Consumer(Connection):
    """A part that owns a connection from which one queue is consumed.

    ``deliver`` is called on its thread for each message and must not block. Dead letters and what
    goes to the tail are published through ``publish``, and acknowledged once confirmed. No other
    may consume the queue where this one is ``exclusive``. ``former`` is the queue of an earlier
    version: what waits there is consumed too, and then the queue is deleted. ``depth`` is kept up.
    Of bodies no more than ``budget`` bytes are in hand at a time. Without a dead-letter queue all
    else goes on.
    """

    def __init__(
        self,
        urls: Iterable[str],
        tls: Tls,
        items: Iterable[Item],
        *,
        declare: bool,
        queue: str,
        dead_letter_queue: str,
        deliver: Callable[[Delivery], object],
        publish: Callable[[Message, Done], object],
        parked: Callable[[str], object] = lambda code: None,
        name: str = "consumer",
        exclusive: bool = False,
        former: str = "",
        depth: Depth | None = None,
        budget: int = BUDGET,
    ) -> None:
        optional = [Queue(dead_letter_queue, QUORUM)]
        super().__init__(name, urls, tls, items, declare=declare, optional=optional)
        self._subscription = Subscription(queue, exclusive=exclusive, former=former)
        self.parking = Parking(dead_letter_queue, parked)
        self.dead_letters = self.parking.outage
        """Whether the dead-letter queue takes what is parked."""
        self._depth = depth
        self._deliver = deliver
        self._publish = publish
        self._outcomes: deque[tuple[Delivery, Outcome | _Copied]] = deque()
        """Any thread appends; the connection's own alone takes, and all else here is its own: other
        threads read the length of a collection at most."""
        self._life = 0
        self._unacked = Unacked(budget)
        self._no_room = Aside()
        self._held: OrderedDict[int, Delivery] = OrderedDict()
        self._tails = Outage(log, "tail.failing", "tail.back", queue=queue)
        self._next_tail = 0.0
        self._lending = False
        """Whether the prefetch is being raised."""
        self._cancelled = threading.Event()
        self._gone = ""
        """A queue of ours that somebody deleted although it has no consumer to be told of it."""

    @property
    def held(self) -> int:
        """Replies kept until SWF can be asked again."""
        return len(self._held)

    @property
    def unsettled(self) -> int:
        """Deliveries without an acknowledgement that neither are held nor wait otherwise."""
        return len(self._unacked) - len(self._held) - len(self._no_room) - self.unparked

    @property
    def unparked(self) -> int:
        """Replies that can never be accepted and that the dead-letter queue does not take."""
        return len(self.parking)

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """Carry ``outcome`` out as soon as can be. Never blocks."""
        self._outcomes.append((delivery, outcome))
        self.wake()

    def cancel(self) -> None:
        """Have no more delivered; what was delivered may still be settled."""
        self._cancelled.set()
        self.wake()

    # --- on the connection's own thread ---

    async def _setup(self) -> None:
        channel = self._channel
        limit_bodies(channel)
        channel.add_on_cancel_callback(self.guarded(self._on_cancelled))
        if self._depth is not None:
            # A queue that does not answer is not to end the connection.
            self._run(self._depth.watch(self._open_channel, self._call_later), late=_nothing)
        self._life += 1
        self._gone = ""
        if not self._cancelled.is_set():
            on_message = self.guarded(self._on_message)
            await self._subscription.raise_prefetch(channel, on_message, PREFETCH)
            if self._subscription.former:
                self._run(
                    self._subscription.take_over(
                        channel, on_message, self._open_channel, self._call_later
                    )
                )

    def _on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        tag, size = method.delivery_tag, len(body)
        if not self._unacked.add(tag, size, again=method.redelivered):
            self._no_room.put(tag, size)
            self._lend()
            return
        self._deliver(
            Delivery(
                self.settle,
                self._subscription.queue,
                body,
                from_pika(properties),
                method.redelivered,
                self._life,
                tag,
                time.monotonic(),
            )
        )

    def _on_cancelled(self, _frame: Any) -> None:
        # A queue was deleted, or moved to another node: the topology is made to stand anew.
        self.abort(ConnectionResetError("RabbitMQ cancelled the consumer"))

    def _work(self) -> None:
        if self._gone:
            self.abort(ConnectionResetError(f"queue {self._gone} is gone"))
            return
        while self._outcomes:
            delivery, outcome = self._outcomes.popleft()
            if delivery.life != self._life:
                continue
            if isinstance(outcome, _Copied) and outcome.parked is not None:
                self.parking.under_way -= 1
            if delivery.tag in self._unacked:
                self._carry_out(delivery, outcome)
        self._give_back()
        self._unacked.acknowledge(self._channel)
        if self._cancelled.is_set():
            self._subscription.cancel(self._channel)

    def _carry_out(self, delivery: Delivery, outcome: Outcome | _Copied) -> None:
        match outcome:
            case Ack():
                self._unacked.done(delivery.tag)
            case Later(seconds, here=here):
                self._hold(delivery, seconds, here=here)
            case Park():
                self._park(delivery, outcome)
            case _Copied(None, receipt):
                self._sent_to_the_tail(delivery, receipt)
            case _Copied(Park() as parked, receipt):
                self._sent_to_park(delivery, parked, receipt)

    # --- kept for SWF ---

    def _hold(self, delivery: Delivery, seconds: float, *, here: bool = False) -> None:
        now = time.monotonic()
        if now - delivery.since > HELD_FOR and not here:
            self._to_the_tail(delivery)
            return
        self._held[delivery.tag] = delivery
        self._call_later(seconds, partial(self._hand_on, delivery))
        crowded = len(self._held) > HELD_LIMIT or self._unacked.crowded
        if crowded and now >= self._next_tail:
            _, longest = self._held.popitem(last=False)
            self._next_tail = now + max(1 / TAIL_PACE, len(longest.body) / TAIL_BYTES)
            self._to_the_tail(longest)

    def _to_the_tail(self, delivery: Delivery) -> None:
        message = to_the_tail(delivery.queue, delivery.body, delivery.properties)
        log.debug("reply.requeued", extra={"queue": delivery.queue})
        self._publish(message, partial(self._published, delivery, None))

    def _sent_to_the_tail(self, delivery: Delivery, receipt: Receipt) -> None:
        if receipt.fate is Fate.CONFIRMED:
            self._tails.end()
            self._unacked.done(delivery.tag)
            return
        self._tails.begin(receipt.detail)
        self._next_tail = time.monotonic() + TAIL_RETRY
        if receipt.fate is Fate.UNROUTABLE:  # made to stand anew, with all that we declare
            self._gone = delivery.queue
        self._hold(delivery, TAIL_RETRY, here=True)

    # --- parked, or kept for the dead-letter queue ---

    def _park(self, delivery: Delivery, parked: Park) -> None:
        if self.parking.may_go(delivery):
            letter = self.parking.letter(delivery, parked)
            self._publish(letter, partial(self._published, delivery, parked))
        else:
            self._wait_to_park(delivery)

    def _published(self, delivery: Delivery, parked: Park | None, receipt: Receipt) -> None:
        """On the publisher's thread."""
        if parked is not None and receipt.fate is Fate.CONFIRMED:
            self.parking.tell(delivery, parked)
        self._outcomes.append((delivery, _Copied(parked, receipt)))
        self.wake()

    def _sent_to_park(self, delivery: Delivery, parked: Park, receipt: Receipt) -> None:
        if receipt.fate is Fate.CONFIRMED:
            self._unacked.done(delivery.tag)
            self.parking.taken(delivery)
            return
        if not self.parking.refused(delivery, receipt.detail):
            self._wait_to_park(delivery)
            return
        if receipt.fate is Fate.UNROUTABLE:
            self._run(self._declarations.try_optional(self._open_channel))
        self._call_later(UNPARKED_RETRY, partial(self._park_again, delivery, parked))

    def _park_again(self, delivery: Delivery, parked: Park) -> None:
        if self.parking.is_probe(delivery):
            self._park(delivery, parked)

    def _wait_to_park(self, delivery: Delivery) -> None:
        parking = self.parking
        if len(parking.aside) + PREFETCH >= PREFETCH_MOST:
            self._hold(delivery, UNPARKED_RETRY)
            return
        self._unacked.let_go(delivery.tag)
        parking.aside.put(delivery.tag, len(delivery.body))
        self._lend()

    # --- all the same ---

    def _lend(self) -> None:
        """Have more delivered, where what is set aside leaves little of the prefetch."""
        parking, subscription = self.parking, self._subscription
        waiting = len(self._no_room) + len(parking.aside) + parking.under_way
        crowded = subscription.prefetch < min(waiting + SPARE, PREFETCH_MOST)
        if crowded and not self._lending and not subscription.exclusive:
            self._lending = True
            on_message = self.guarded(self._on_message)
            more = subscription.raise_prefetch(self._channel, on_message, subscription.prefetch)
            self._run(more, self._lent)

    def _lent(self) -> None:
        self._lending = False

    def _give_back(self) -> None:
        """Have RabbitMQ deliver again what was set aside and can be worked on now."""
        self._unacked.give_back(self._channel, self._no_room, PREFETCH)
        self._unacked.give_back(self._channel, self.parking.aside, self.parking.room)

    def _tick(self) -> None:
        self._unacked.expect_no_more()
        self._refresh()
        self._give_back()
        aside = len(self._no_room) + len(self.parking.aside)
        if self._subscription.is_raised and not aside and not self._lending:
            self._subscription.lower_prefetch(self._channel, PREFETCH)

    def _refresh(self) -> None:
        """Have delivered again what would be without an acknowledgement for too long."""
        for aside in (self._no_room, self.parking.aside):
            while aside.is_old:
                self._unacked.requeue(self._channel, aside.take())
        if probe := self.parking.take_old_probe():
            self._unacked.requeue(self._channel, probe.tag)

    def _hand_on(self, delivery: Delivery) -> None:
        """Its time has come, if it is held still: it may be on its way to the tail, or settled."""
        if self._held.get(delivery.tag) is delivery:
            del self._held[delivery.tag]
            self._deliver(delivery)

    def _lost(self, error: BaseException | None) -> None:
        """RabbitMQ delivers again what was not acknowledged."""
        self._unacked.clear()
        self._held.clear()
        self._no_room.clear()
        self.parking.lost()
        self._subscription.lost()
        self._lending = False


def _nothing() -> None:
    """What is to be done about an answer that is late."""

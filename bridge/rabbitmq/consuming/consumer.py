"""Consumes a queue: hands each delivery to ``deliver`` and carries out its outcome.

An outcome may come at any time from any thread. It is carried out on the connection's own thread,
and only if the delivery belongs to the current channel: each channel counts its delivery tags from
1, so an old tag would acknowledge another message.

A delivery that cannot be processed now must not fill the memory or the prefetch:

- SWF cannot take the reply now: it is held with its body, or published to the tail of its queue
  (see ``held``).
- The bodies in hand would exceed the budget: it is set aside until there is room.
- Replies of tasks that this instance does not hold come faster than SWF answers (see ``Wait``).
- Bad replies come faster than they can be parked, or the dead-letter queue refuses them: see
  ``parking``.

To set a delivery aside is to drop its body and keep its tag. The prefetch is raised accordingly.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bridge.message.message import Message
from bridge.rabbitmq.amqp import Tls, from_pika, limit_bodies
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.consuming.copies import to_the_tail
from bridge.rabbitmq.consuming.delivery import Ack, Delivery, Later, Outcome, Park, Wait
from bridge.rabbitmq.consuming.held import Held
from bridge.rabbitmq.consuming.parking import UNPARKED_RETRY, Parking
from bridge.rabbitmq.consuming.subscription import Subscription
from bridge.rabbitmq.consuming.unacked import Aside, Unacked
from bridge.rabbitmq.nodes import ConnectionLimit
from bridge.rabbitmq.publisher import Done, Fate, Receipt
from bridge.rabbitmq.queue_watch import Depth
from bridge.rabbitmq.topology import QUORUM, Item, Queue

log = logging.getLogger(__name__)

PREFETCH = 256
PREFETCH_MOST = 32_768
"""Upper limit of the prefetch when it is raised for deliveries that wait."""
BUDGET = 64 * 1024 * 1024
"""Maximum bytes of bodies in hand; a single body may be larger."""


@dataclass(frozen=True, slots=True)
class _Copied:
    """The receipt for a published copy of a delivery."""

    parked: Park | None
    """Set if the copy was a dead letter; None if it was for the tail of the queue."""
    receipt: Receipt


class Consumer(Connection):
    """A part that owns a connection and consumes one queue.

    ``deliver`` is called on the part's thread for each message and must not block. Dead letters and
    copies for the tail go out through ``publish``; the delivery is acknowledged after the confirm.
    ``exclusive`` and ``former`` are explained in Subscription, ``limits`` in Connection. ``depth``
    is updated while the connection lives. Bodies in hand have at most ``budget`` bytes. The
    dead-letter queue is optional: without it, other deliveries are still processed.
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
        **limits: ConnectionLimit,
    ) -> None:
        optional = [Queue(dead_letter_queue, QUORUM)]
        super().__init__(name, urls, tls, items, declare=declare, optional=optional, **limits)
        self.subscription = Subscription(queue, exclusive=exclusive, former=former)
        self.parking = Parking(dead_letter_queue, parked, budget // 4)
        self.dead_letters = self.parking.outage
        """The outage of the dead-letter queue."""
        self._depth = depth
        self._deliver = deliver
        self._publish = publish
        self._outcomes: deque[tuple[Delivery, Outcome | _Copied]] = deque()
        """Any thread may append; only the connection's thread takes. All other attributes belong to
        that thread; other threads may only read the length of a collection."""
        self._life = 0
        self._unacked = Unacked(budget)
        self.no_room = Aside()
        self.held = Held(queue)
        """Replies that are held until SWF is asked again."""
        self._paced = False
        """Whether a call of ``_on_pace`` is scheduled."""
        self._cancelled = threading.Event()
        self._gone = ""
        """The queue, if a copy for its tail was unroutable: then it was deleted, and a new
        connection declares it again."""

    @property
    def unsettled(self) -> int:
        """Unacknowledged deliveries that are being processed: not held, not set aside."""
        return len(self._unacked) - len(self.held) - len(self.no_room) - self.unparked

    @property
    def unparked(self) -> int:
        """Bad replies that the dead-letter queue has refused so far."""
        return len(self.parking)

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """Have ``outcome`` carried out on the connection's thread. Never blocks."""
        self._outcomes.append((delivery, outcome))
        self.wake()

    def cancel(self) -> None:
        """Stop consuming. Messages already delivered can still be settled."""
        self._cancelled.set()
        self.wake()

    # --- on the connection's own thread ---

    async def _setup(self) -> None:
        channel = self._channel
        limit_bodies(channel)
        channel.add_on_cancel_callback(self.guarded(self._on_cancelled))
        if self._depth is not None:
            # ``late`` keeps the connection open if the queue does not answer.
            self._run(self._depth.watch(self._open_channel, self._call_later), late=_nothing)
        self._life += 1
        self._gone = ""
        if not self._cancelled.is_set():
            on_message = self.guarded(self._on_message)
            await self.subscription.raise_prefetch(channel, on_message, PREFETCH)
            if self.subscription.former:
                self._run(
                    self.subscription.take_over(
                        channel, on_message, self._open_channel, self._call_later
                    )
                )

    def _on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        tag, size = method.delivery_tag, len(body)
        if not self._unacked.add(tag, size, again=method.redelivered):
            self.no_room.put(tag, size)
            self._lend()
            return
        self._deliver(
            Delivery(
                self.settle,
                self.subscription.queue,
                body,
                from_pika(properties),
                method.redelivered,
                self._life,
                tag,
                time.monotonic(),
            )
        )

    def _on_cancelled(self, _frame: Any) -> None:
        # The queue was deleted or moved to another node: a new connection declares it again.
        self.abort(ConnectionResetError("RabbitMQ cancelled the consumer"))

    def _work(self) -> None:
        if self._gone:
            self.abort(ConnectionResetError(f"queue {self._gone} is gone"))
            return
        while self._outcomes:
            delivery, outcome = self._outcomes.popleft()
            if delivery.life != self._life:
                continue
            if isinstance(outcome, _Copied):
                of = self.held if outcome.parked is None else self.parking
                of.under_way -= 1
            if self._unacked.go_on(delivery.tag):
                self._carry_out(delivery, outcome)
        if self.parking.waiting or self.parking.aside:
            self._park_waiting()
        self._give_back()
        self._unacked.acknowledge(self._channel)
        if self._cancelled.is_set():
            self.subscription.cancel(self._channel)

    def _carry_out(self, delivery: Delivery, outcome: Outcome | _Copied) -> None:
        match outcome:
            case Wait():
                self._unacked.wait(delivery.tag)
                self._lend()
            case Ack():
                self._unacked.done(delivery.tag)
            case Later() if self.held.is_over(delivery):
                self._to_the_tail(delivery)
            case Later(seconds):
                self._hold(delivery, seconds)
            case Park():
                self._park(delivery, outcome)
            case _Copied(None, receipt):
                self._sent_to_the_tail(delivery, receipt)
            case _Copied(Park() as parked, receipt):
                self._sent_to_park(delivery, parked, receipt)

    # --- replies that SWF cannot take now ---

    def _hold(self, delivery: Delivery, seconds: float) -> None:
        self.held.put(delivery)
        self._lend()
        self._call_later(seconds, partial(self._hand_on, delivery))
        if surplus := self.held.take_surplus(crowded=self._unacked.crowded):
            self._to_the_tail(surplus)

    def _hand_on(self, delivery: Delivery) -> None:
        if self.held.take(delivery):
            self._deliver(delivery)

    def _to_the_tail(self, delivery: Delivery) -> None:
        message = to_the_tail(delivery.queue, delivery.body, delivery.properties)
        log.debug("reply.requeued", extra={"queue": delivery.queue})
        self.held.under_way += 1
        self._publish(message, partial(self._published, delivery, None))

    def _sent_to_the_tail(self, delivery: Delivery, receipt: Receipt) -> None:
        if self.held.sent(receipt):
            self._unacked.done(delivery.tag)
            return
        if receipt.fate is Fate.UNROUTABLE:
            self._gone = delivery.queue
        self._hold(delivery, self.held.tail_retry)

    # --- bad replies, for the dead-letter queue ---

    def _park(self, delivery: Delivery, parked: Park) -> None:
        if self.parking.may_go(delivery):
            self._publish_letter(delivery, parked)
        elif self.parking.wait(delivery, parked):
            self._lend()
        else:
            self._set_aside(delivery)

    def _publish_letter(self, delivery: Delivery, parked: Park) -> None:
        letter = self.parking.letter(delivery, parked)
        self._publish(letter, partial(self._published, delivery, parked))

    def _published(self, delivery: Delivery, parked: Park | None, receipt: Receipt) -> None:
        """Queue the receipt of a copy. Runs on the publisher's thread."""
        if parked is not None and receipt.fate is Fate.CONFIRMED:
            self.parking.tell(delivery, parked)
        self._outcomes.append((delivery, _Copied(parked, receipt)))
        self.wake()

    def _sent_to_park(self, delivery: Delivery, parked: Park, receipt: Receipt) -> None:
        if receipt.fate is Fate.CONFIRMED:
            self._unacked.done(delivery.tag)
            self.parking.taken(delivery)
            return
        is_probe = self.parking.refused(delivery, receipt.detail)
        while waiting := self.parking.take(all_=True):
            self._set_aside(waiting[0])
        if not is_probe:
            self._set_aside(delivery)
            return
        if receipt.fate is Fate.UNROUTABLE:
            self._run(self.declarations.try_optional(self._open_channel))
        self._call_later(UNPARKED_RETRY, partial(self._park_again, delivery, parked))

    def _park_again(self, delivery: Delivery, parked: Park) -> None:
        if self.parking.is_probe(delivery):
            self._park(delivery, parked)

    def _park_waiting(self) -> None:
        """Publish the dead letters that may go now; come again when PACE allows the next."""
        while waiting := self.parking.take():
            self._publish_letter(*waiting)
        if not self._paced and (delay := self.parking.delay):
            self._paced = True
            self._call_later(delay, self._on_pace)

    def _on_pace(self) -> None:
        self._paced = False
        self.wake()

    def _set_aside(self, delivery: Delivery) -> None:
        """Set a bad reply aside; hold it if that would leave no prefetch to good ones."""
        parking = self.parking
        if parking.in_prefetch + PREFETCH >= PREFETCH_MOST:
            self._carry_out(delivery, Later(UNPARKED_RETRY))
            return
        self._unacked.let_go(delivery.tag)
        parking.aside.put(delivery.tag, len(delivery.body))
        self._lend()

    # --- the prefetch, and deliveries that are set aside ---

    def _lend(self) -> None:
        """Raise the prefetch if deliveries that wait leave too little of it."""
        waiting = self.held.in_prefetch + len(self.no_room) + self.parking.in_prefetch
        if self.subscription.is_crowded(waiting + self._unacked.waiting, PREFETCH_MOST):
            on_message = self.guarded(self._on_message)
            self._run(self.subscription.double_prefetch(self._channel, on_message))

    def _give_back(self) -> None:
        """Requeue deliveries that were set aside and can be processed now."""
        if self.no_room:
            self._unacked.give_back(self._channel, self.no_room, PREFETCH)
        if self.parking.aside:
            self._unacked.give_back(self._channel, self.parking.aside, self.parking.room)

    def _tick(self) -> None:
        self._unacked.expect_no_more()
        self._refresh()
        self._give_back()
        lent = self.no_room or self.parking.in_prefetch or self._unacked.waiting
        if self.subscription.is_raised and not lent:
            self.subscription.lower_prefetch(self._channel, PREFETCH)

    def _refresh(self) -> None:
        """Requeue deliveries that RabbitMQ would soon time out (REFRESH)."""
        for aside in (self.no_room, self.parking.aside):
            while aside.is_old:
                self._unacked.requeue(self._channel, aside.take())
        if probe := self.parking.take_old_probe():
            self._unacked.requeue(self._channel, probe.tag)

    def _lost(self, error: BaseException | None) -> None:
        """Forget all deliveries: RabbitMQ delivers them again."""
        self._unacked.clear()
        self.held.lost()
        self.no_room.clear()
        self.parking.lost()
        self.subscription.lost()
        self._paced = False


def _nothing() -> None:
    """Ignore a late answer."""

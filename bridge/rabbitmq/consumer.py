"""Consume what comes back: each delivery is handed on, and its outcome carried out here.

An outcome comes at any time from any thread. What it asks of RabbitMQ is done on this
connection's own thread, and only while the delivery belongs to the present life of the channel:
tags begin anew with each, and a stale one would acknowledge another message.

What cannot be worked on now is held, set aside, or sent to the tail of its queue, so that neither
memory nor the prefetch is filled by it and the others go on:

- SWF does not take it now: held, with its body, up to HELD_LIMIT and HELD_FOR; then the tail.
- Its body would be over the budget: set aside until there is room.
- The dead-letter queue does not take it: set aside, beside a prefetch that grows with that. One of
  them is tried again every UNPARKED_RETRY seconds.
"""

import heapq
import itertools
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bridge.message import ERROR_AT_HEADER, Message
from bridge.rabbitmq.amqp import ChannelClosedByBroker, Tls, from_pika, limit_bodies
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.copies import dead_letter, to_the_tail
from bridge.rabbitmq.declarations import OPTIONAL_TIMEOUT
from bridge.rabbitmq.delivery import Ack, Delivery, Later, Outcome, Park
from bridge.rabbitmq.depth import Depth
from bridge.rabbitmq.publisher import Done, Fate, Receipt
from bridge.rabbitmq.sender import name, sender
from bridge.rabbitmq.setup import Step
from bridge.rabbitmq.topology import QUORUM, Item, Queue
from bridge.rabbitmq.unacked import REFRESH, Aside, Unacked
from bridge.telemetry.outage import Outage
from bridge.telemetry.repeated import Repeated

log = logging.getLogger(__name__)

PREFETCH = 256
PREFETCH_MOST = 32_768
"""With all that is lent for replies which the dead-letter queue does not take."""
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
PARKING = 224
"""Dead letters on their way to a confirm at most."""
SPARE = 64
"""With fewer left of the prefetch beside bad replies, more are asked for."""
UNPARKED_RETRY = 5.0
TAIL_RETRY = 5.0
FORMER_EMPTIES = 5.0
"""Seconds in which what waits in a former queue is consumed; the rest stays for the next start."""


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
        self.dead_letters = Outage(
            log, "dead_letters.failing", "dead_letters.back", queue=dead_letter_queue
        )
        """Whether the dead-letter queue takes what is parked."""
        self._queue = queue
        self._exclusive = exclusive
        self._former = former
        self._depth = depth
        self._dead_letter_queue = dead_letter_queue
        self._deliver = deliver
        self._publish = publish
        self._parked = parked
        self._dead_lettered = Repeated(log, "reply.dead_lettered")
        self._outcomes: deque[tuple[Delivery, Outcome | _Copied]] = deque()
        self._life = 0
        self._unacked = Unacked(budget)
        self._no_room = Aside()
        self._unparked = Aside()
        self._parking = 0
        self._probe: Delivery | None = None
        """The one that is parked again and again while the dead-letter queue takes none."""
        self._held: OrderedDict[int, Delivery] = OrderedDict()
        self._due: list[tuple[float, int, Delivery]] = []
        self._order = itertools.count()
        self._tails = Outage(log, "tail.failing", "tail.back", queue=queue)
        self._next_tail = 0.0
        self._tags: list[str] = []
        """Of the consumers in RabbitMQ: one, and those by which the prefetch was raised."""
        self._prefetch = 0
        self._lending = False
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
        return len(self._unparked) + (self._probe is not None)

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
            await self._consume_more(PREFETCH)
            if self._former:
                self._run(self._take_over(channel, self.guarded(self._on_message)))

    async def _consume_more(self, count: int) -> None:
        """Have RabbitMQ deliver so many more before one is acknowledged."""
        channel = self._channel
        await Step(
            "limit the prefetch",
            lambda done: channel.basic_qos(prefetch_count=count, callback=done),
        )
        on_message = self.guarded(self._on_message)
        answer = await Step(
            f"consume from queue {self._queue}",
            partial(_consume, channel, self._queue, self._exclusive, on_message),
        )
        self._tags.append(answer.method.consumer_tag)
        self._prefetch += count

    async def _take_over(self, channel: Any, on_message: Callable[..., None]) -> None:
        """Consume what waits in the former queue, if it stands, and delete it once it is empty."""
        former = self._former
        another = await self._open_channel()
        try:
            await Step(
                f"look for queue {former}",
                lambda done: another.queue_declare(former, passive=True, callback=done),
                OPTIONAL_TIMEOUT,
            )
            self._former = ""
            on_former = partial(_consume, channel, former, False, on_message)
            answer = await Step(f"consume from queue {former}", on_former)
            await Step("wait", lambda done: self._call_later(FORMER_EMPTIES, done))
            tag = answer.method.consumer_tag
            await Step(
                f"consume no more from queue {former}",
                lambda done: channel.basic_cancel(tag, callback=done),
            )
            await Step(
                f"delete queue {former}",
                lambda done: another.queue_delete(former, True, True, callback=done),
            )
        except (ChannelClosedByBroker, TimeoutError) as error:
            log.debug("topology.not_taken_over", extra={"queue": former, "reason": str(error)})
        else:
            log.info("topology.taken_over", extra={"queue": former})
        finally:
            if another.is_open:
                another.close()

    def _on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        tag, size = method.delivery_tag, len(body)
        if not self._unacked.add(tag, size, again=method.redelivered):
            self._no_room.put(tag, size)
            return
        self._deliver(
            Delivery(
                self.settle,
                self._queue,
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
                self._parking -= 1
            if delivery.tag in self._unacked:
                self._carry_out(delivery, outcome)
        self._give_back()
        self._unacked.acknowledge(self._channel)
        if self._cancelled.is_set():
            self._cancel_consumers(self._tags)

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
        heapq.heappush(self._due, (now + seconds, next(self._order), delivery))
        self._call_later(seconds, self._hand_on_due)
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
        failing = bool(self.dead_letters.error)
        if delivery is not self._probe and ((failing and self._probe) or self._parking >= PARKING):
            self._wait_to_park(delivery)
            return
        if failing:
            self._probe = delivery
        self._parking += 1
        queue, properties = self._dead_letter_queue, delivery.properties
        message = dead_letter(queue, delivery.body, properties, parked.code, parked.detail)
        message = message.with_headers({ERROR_AT_HEADER: int(time.time())})
        self._publish(message, partial(self._published, delivery, parked))

    def _published(self, delivery: Delivery, parked: Park | None, receipt: Receipt) -> None:
        """On the publisher's thread."""
        if parked is not None and receipt.fate is Fate.CONFIRMED:
            kind = (parked.code, *name(delivery.properties).values())
            of = {**sender(delivery.properties), **parked.about}
            self._dead_lettered.tell(kind, code=parked.code, reason=parked.detail, **of)
            self._parked(parked.code)
        self._outcomes.append((delivery, _Copied(parked, receipt)))
        self.wake()

    def _sent_to_park(self, delivery: Delivery, parked: Park, receipt: Receipt) -> None:
        if receipt.fate is Fate.CONFIRMED:
            self._unacked.done(delivery.tag)
            if delivery is self._probe:
                self._probe = None
                self.dead_letters.end(waiting=len(self._unparked))
            return
        self.dead_letters.begin(receipt.detail)
        if self._probe not in (None, delivery):
            self._wait_to_park(delivery)
            return
        self._probe = delivery
        if receipt.fate is Fate.UNROUTABLE:
            self._run(self._declarations.try_optional(self._open_channel))
        self._call_later(UNPARKED_RETRY, partial(self._park_again, delivery, parked))

    def _park_again(self, delivery: Delivery, parked: Park) -> None:
        if delivery is self._probe:
            self._park(delivery, parked)

    def _wait_to_park(self, delivery: Delivery) -> None:
        if len(self._unparked) + PREFETCH >= PREFETCH_MOST:
            self._hold(delivery, UNPARKED_RETRY)
            return
        self._unacked.let_go(delivery.tag)
        self._unparked.put(delivery.tag, len(delivery.body))
        crowded = len(self._unparked) + self._parking + SPARE > self._prefetch
        if crowded and not self._lending and not self._exclusive:
            self._lending = True
            self._run(self._consume_more(self._prefetch), self._lent)

    def _lent(self) -> None:
        self._lending = False

    # --- all the same ---

    def _give_back(self) -> None:
        """Have RabbitMQ deliver again what was set aside and can be worked on now."""
        self._unacked.give_back(self._channel, self._no_room, PREFETCH)
        if not self.dead_letters.error:
            self._unacked.give_back(self._channel, self._unparked, PARKING - self._parking)

    def _tick(self) -> None:
        self._hand_on_due()
        self._unacked.expect_no_more()
        self._refresh()
        self._give_back()
        if len(self._tags) > 1 and not self._unparked and not self._lending:
            self._cancel_consumers(self._tags[1:])
            self._prefetch = PREFETCH

    def _refresh(self) -> None:
        """Have delivered again what would be without an acknowledgement for too long."""
        for aside in (self._no_room, self._unparked):
            while aside.is_old:
                self._unacked.requeue(self._channel, aside.take())
        probe = self._probe
        if probe is not None and not self._parking and time.monotonic() - probe.since > REFRESH:
            self._probe = None
            self._unacked.requeue(self._channel, probe.tag)

    def _hand_on_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, delivery = heapq.heappop(self._due)
            if self._held.pop(delivery.tag, None) is delivery:
                self._deliver(delivery)

    def _cancel_consumers(self, tags: Sequence[str]) -> None:
        for tag in tags:
            self._channel.basic_cancel(tag, callback=lambda _frame: None)
        self._tags = [tag for tag in self._tags if tag not in tags]

    def _lost(self, error: BaseException | None) -> None:
        """RabbitMQ delivers again what was not acknowledged."""
        self._unacked.clear()
        self._held.clear()
        self._due.clear()
        self._no_room.clear()
        self._unparked.clear()
        self._tags.clear()
        self._parking = self._prefetch = 0
        self._probe = None
        self._lending = False


def _nothing() -> None:
    """What is to be done about an answer that is late."""


def _consume(
    channel: Any, queue: str, exclusive: bool, on_message: Callable[..., None], done: Any
) -> None:
    channel.basic_consume(queue, on_message, exclusive=exclusive, callback=done)

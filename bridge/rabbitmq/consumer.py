"""Consume what comes back: each delivery is handed on, and its outcome carried out here.

An outcome comes at any time from any thread. What it asks of RabbitMQ is done on this
connection's own thread, and only while the delivery belongs to the present life of the channel:
tags begin anew with each, and a stale one would acknowledge another message.
"""

import heapq
import itertools
import logging
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bridge.errors import Refused, Unavailable
from bridge.message import ERROR_AT_HEADER, Message
from bridge.rabbitmq.amqp import ChannelClosedByBroker, Tls, from_pika, limit_bodies
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.copies import dead_letter, to_the_tail
from bridge.rabbitmq.declarations import OPTIONAL_TIMEOUT
from bridge.rabbitmq.depth import Depth
from bridge.rabbitmq.publisher import Done, Fate, Receipt
from bridge.rabbitmq.sender import name, sender
from bridge.rabbitmq.setup import Step
from bridge.rabbitmq.topology import Item
from bridge.telemetry.repeated import Repeated

log = logging.getLogger(__name__)

PREFETCH = 256
HELD_LIMIT = PREFETCH // 2
"""With more replies held than this, the one held longest goes to the tail of the queue."""
HELD_FOR = 600.0
"""Seconds after which a reply that SWF cannot take goes to the tail of the queue."""
TAIL_PACE = 100.0
"""Replies a second that go to the tail at most: they come round again."""
FORMER_EMPTIES = 5.0
"""Seconds in which what waits in a former queue is consumed; the rest stays for the next start."""
UNPARKED_RETRY = 5.0
RETRY_FIRST = 0.5
RETRY_REFUSED = 5.0
RETRY_CAP = 60.0


@dataclass(frozen=True, slots=True)
class Ack:
    """SWF has answered, or nothing is left to answer: the message is done with."""


@dataclass(frozen=True, slots=True)
class Later:
    """Keep the message and hand it on again after so many seconds."""

    seconds: float
    reason: str = ""
    here: bool = False
    """However long it was kept: the tail of the queue would not have it just now."""


@dataclass(frozen=True, slots=True)
class Park:
    """It can never be accepted: to the dead-letter queue, then acknowledge it."""

    code: str
    detail: str
    about: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The task that it means, as far as that is known, for the log."""


Outcome = Ack | Later | Park


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message that was delivered and awaits its outcome."""

    consumer: "Consumer" = field(repr=False)
    queue: str
    body: bytes
    properties: Mapping[str, Any]
    redelivered: bool
    life: int = field(repr=False)
    tag: int = field(repr=False)
    since: float = field(repr=False)
    """Monotonic seconds when it came."""

    def __repr__(self) -> str:
        return f"<Delivery {self.tag} of {self.queue}, {len(self.body)} bytes>"

    def settle(self, outcome: Outcome) -> None:
        """Have the consumer that it came from carry the outcome out. Never blocks."""
        self.consumer.settle(self, outcome)


Settled = list[tuple[Delivery, Outcome]]
"""Deliveries with their outcomes, for their consumers to carry out."""


def settle_all(settled: Settled) -> None:
    """Have each outcome carried out by the consumer that the delivery came from."""
    for delivery, outcome in settled:
        delivery.settle(outcome)


def put_off(delivery: Delivery, error: Unavailable) -> Later:
    """Wait about as long as the delivery has waited already: capped, exponential, jittered."""
    waited = time.monotonic() - delivery.since
    first = RETRY_REFUSED if isinstance(error, Refused) else RETRY_FIRST
    seconds = min(RETRY_CAP, max(first, waited)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    log.debug("reply.later", extra={"seconds": round(seconds, 1), "error": error.code})
    return Later(seconds, str(error))


class Consumer(Connection):
    """A part that owns a connection from which one queue is consumed.

    ``deliver`` is called on its thread for each message and must not block. Dead letters and what
    goes to the tail are published through ``publish``, and acknowledged once confirmed. No other
    may consume the queue where this one is ``exclusive``. ``former`` is the queue of an earlier
    version: what waits there is consumed too, and then the queue is deleted. ``depth`` is kept up.
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
    ) -> None:
        super().__init__(name, urls, tls, items, declare=declare)
        self._queue = queue
        self._exclusive = exclusive
        self._former = former
        self._depth = depth
        self._dead_letter_queue = dead_letter_queue
        self._deliver = deliver
        self._publish = publish
        self._parked = parked
        self._dead_lettered = Repeated(log, "reply.dead_lettered")
        self._outcomes: deque[tuple[Delivery, Outcome]] = deque()
        self._life = 0
        self._open: OrderedDict[int, None] = OrderedDict()
        """Tags without an acknowledgement on the wire, in order."""
        self._ready: set[int] = set()
        """Those of them that are to get it."""
        self._held: OrderedDict[int, Delivery] = OrderedDict()
        self._due: list[tuple[float, int, Delivery]] = []
        self._order = itertools.count()
        self._tails_since = 0.0
        self._tag = ""
        self._cancelled = threading.Event()
        self._gone = ""
        """A queue of ours that somebody deleted although it has no consumer to be told of it."""

    @property
    def held(self) -> int:
        """Replies kept until SWF can be asked again."""
        return len(self._held)

    @property
    def unsettled(self) -> int:
        """Deliveries without an acknowledgement that are not held."""
        return len(self._open) - len(self._held)

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
        await Step(
            "limit the prefetch",
            lambda done: channel.basic_qos(prefetch_count=PREFETCH, callback=done),
        )
        if self._depth is not None:
            # A queue that does not answer is not to end the connection.
            self._run(self._depth.watch(self._open_channel, self._call_later), late=_nothing)
        self._life += 1
        self._gone = ""
        self._tag = ""
        if not self._cancelled.is_set():
            on_message = self.guarded(self._on_message)
            answer = await Step(
                f"consume from queue {self._queue}",
                partial(_consume, channel, self._queue, self._exclusive, on_message),
            )
            self._tag = answer.method.consumer_tag
            if self._former:
                self._run(self._take_over(channel, on_message))

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
        tag = method.delivery_tag
        self._open[tag] = None
        self._deliver(
            Delivery(
                self,
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
            if delivery.life == self._life and delivery.tag in self._open:
                self._carry_out(delivery, outcome)
        self._acknowledge()
        if self._cancelled.is_set():
            self._cancel_consumers()

    def _carry_out(self, delivery: Delivery, outcome: Outcome) -> None:
        match outcome:
            case Ack():
                self._ready.add(delivery.tag)
            case Later(seconds, here=here):
                self._hold(delivery, seconds, here=here)
            case Park():
                self._park(delivery, outcome)

    def _hold(self, delivery: Delivery, seconds: float, *, here: bool) -> None:
        now = time.monotonic()
        if now - delivery.since > HELD_FOR and not here:
            self._to_the_tail(delivery)
            return
        self._held[delivery.tag] = delivery
        heapq.heappush(self._due, (now + seconds, next(self._order), delivery))
        self._call_later(seconds, self._hand_on_due)
        if len(self._held) > HELD_LIMIT and now - self._tails_since >= 1 / TAIL_PACE:
            self._tails_since = now
            _, longest = self._held.popitem(last=False)
            self._to_the_tail(longest)

    def _to_the_tail(self, delivery: Delivery) -> None:
        message = to_the_tail(delivery.queue, delivery.body, delivery.properties)
        log.debug("reply.requeued", extra={"queue": delivery.queue})
        self._publish(message, partial(self._published, delivery, None))

    def _park(self, delivery: Delivery, parked: Park) -> None:
        queue, properties = self._dead_letter_queue, delivery.properties
        message = dead_letter(queue, delivery.body, properties, parked.code, parked.detail)
        message = message.with_headers({ERROR_AT_HEADER: int(time.time())})
        self._publish(message, partial(self._published, delivery, parked))

    def _published(self, delivery: Delivery, parked: Park | None, receipt: Receipt) -> None:
        """On the publisher's thread: the copy stands in its queue, or it has to be tried again."""
        if receipt.fate is Fate.CONFIRMED:
            if parked is not None:
                kind = (parked.code, *name(delivery.properties).values())
                of = {**sender(delivery.properties), **parked.about}
                self._dead_lettered.tell(kind, code=parked.code, reason=parked.detail, **of)
                self._parked(parked.code)
            self.settle(delivery, Ack())
        else:
            extra = {"reason": receipt.detail, "code": parked.code if parked else ""}
            log.error("reply.not_published", extra=extra)
            if receipt.fate is Fate.UNROUTABLE:  # made to stand anew, with all that we declare
                self._gone = self._dead_letter_queue if parked else delivery.queue
            self.settle(delivery, Later(UNPARKED_RETRY, receipt.detail, here=True))

    def _tick(self) -> None:
        self._hand_on_due()

    def _hand_on_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, delivery = heapq.heappop(self._due)
            if self._held.pop(delivery.tag, None) is delivery:
                self._deliver(delivery)

    def _acknowledge(self) -> None:
        """Acknowledge what is ready: from the oldest on with one frame, behind a gap one by one."""
        oldest = list(itertools.takewhile(self._ready.__contains__, self._open))
        if oldest:
            self._channel.basic_ack(oldest[-1], multiple=True)
        for tag in self._ready.difference(oldest):
            self._channel.basic_ack(tag)
        for tag in self._ready:
            del self._open[tag]
        self._ready.clear()

    def _cancel_consumers(self) -> None:
        if self._tag:
            self._channel.basic_cancel(self._tag, callback=lambda _frame: None)
            self._tag = ""

    def _lost(self, error: BaseException | None) -> None:
        """RabbitMQ delivers again what was not acknowledged."""
        self._open.clear()
        self._ready.clear()
        self._held.clear()
        self._due.clear()


def _nothing() -> None:
    """What is to be done about an answer that is late."""


def _consume(
    channel: Any, queue: str, exclusive: bool, on_message: Callable[..., None], done: Any
) -> None:
    channel.basic_consume(queue, on_message, exclusive=exclusive, callback=done)

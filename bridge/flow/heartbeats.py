"""The heartbeats of workers: merged where they come too fast, each answered where it asks for it.

They have threads of their own, so that a service which answers heartbeats slowly, or not at all,
delays no result. They may fill but a part of the prefetch, and a worker that beats in a tight loop
is answered from SWF's last answer, so that they do not crowd out the replies.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from bridge.conversation import Conversation
from bridge.errors import BadReply, PartFailed, Rejected, TaskClosed, Unavailable
from bridge.flow.keepalive import Keepalive
from bridge.flow.peers import Peers, log_unsent
from bridge.flow.settlement import Settlement
from bridge.flow.timer import Timer
from bridge.message import heartbeat_answer
from bridge.rabbitmq.consumer import Ack, Delivery, Later, Outcome, Settled, put_off
from bridge.rabbitmq.publisher import Publisher
from bridge.rabbitmq.topology import Topology
from bridge.swf.client import Calls
from bridge.swf.executor import Jobs
from bridge.task import Heartbeat
from bridge.telemetry import metrics as m
from bridge.telemetry import sentry
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.outage import Outage

log = logging.getLogger(__name__)

MERGE = 1.0
"""Seconds between two heartbeats of a task to SWF: its time-outs are counted in seconds. SWF's
answer to one holds for all that come within that time."""
IN_HAND = 64
"""Heartbeats that wait here at most; more are held by the consumer, as replies are that SWF cannot
take now."""
KEPT = 1024
"""Tasks whose newest heartbeat and last answer are known: more than may have one without an
acknowledgement."""

Beats = list[tuple[Delivery, Heartbeat]]
Place = tuple[int, int]
"""Where a delivery stands among all: the life of the channel, and its tag."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What SWF has said to a heartbeat of a task."""

    at: float
    """Monotonic seconds."""
    is_open: bool = True
    cancel: bool = False
    refusal: BadReply | None = None
    """SWF takes no heartbeat with this token."""


class Heartbeats:
    """What workers' heartbeats are answered by. Safe to use from many threads.

    ``work`` is for the threads that carry heartbeats to SWF; each conversation returns deliveries
    with their outcomes.
    """

    def __init__(
        self,
        swf: Calls,
        metrics: Metrics,
        *,
        peers: Peers,
        settlement: Settlement,
        keepalive: Keepalive,
        publisher: Publisher,
        timer: Timer,
        topology: Topology,
    ) -> None:
        self.work: Jobs[Callable[[], Conversation[Settled]]] = Jobs()
        self.outage = Outage(log, "heartbeats.failing", "heartbeats.back")
        """Whether SWF takes heartbeats."""
        self._swf = swf
        self._peers = peers
        self._settlement = settlement
        self._keepalive = keepalive
        self._publisher = publisher
        self._metrics = metrics
        self._timer = timer
        self._topology = topology
        self._lock = threading.Lock()
        self._in_hand = 0
        self._waiting: dict[str, Beats] = {}
        """By task: those that wait while a heartbeat is on its way, or was just now."""
        self._newest: OrderedDict[str, tuple[Place, str | None]] = OrderedDict()
        """By task: the details that are to be SWF's last, also where an older one is tried again
        after it."""
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Heartbeats {self._in_hand} in hand>"

    async def take(self, delivery: Delivery, beat: Heartbeat) -> Settled:
        """Have the heartbeat carried to SWF, with others of its task where these come fast.

        Returns what is settled by that: where SWF has answered one of the task within MERGE
        seconds, those that the newest overtakes; and those that cannot wait here.
        """
        with self._lock:
            answer = self._last_answer(beat.task)
            overtaken = self._overtaken(delivery, beat, answer)
            refused = answer is not None and answer.refusal is not None
            outcome = None if refused else self._admit(delivery, beat)
            self._in_hand -= len(overtaken)
        if answer is not None and answer.refusal is not None:
            return await self._refuse([*overtaken, (delivery, beat)], answer.refusal)
        if answer is not None:
            for each in overtaken:
                self._publish_answer(*each, answer)
        self._metrics.count(m.REPLIES, "heartbeat", by=len(overtaken))
        settled: Settled = [(each, Ack()) for each, _ in overtaken]
        return settled if outcome is None else [*settled, (delivery, outcome)]

    async def carry_out(self, work: Callable[[], Conversation[Settled]]) -> Settled:
        """One conversation of ``work``, in a scope of its own for Sentry."""
        with sentry.work_scope():
            return await work()

    async def own(self, task: str, beat: Callable[[], Conversation[None]]) -> None:
        """Have ``beat``, a heartbeat of the bridge's own, unless a worker's is under way."""
        with self._lock:
            if task in self._waiting:
                return
            self._waiting[task] = []
        try:
            await beat()
        finally:
            self._next(task)

    # --- under the lock ---

    @property
    def _crowded(self) -> bool:
        """Whether heartbeats come faster than SWF takes them."""
        return self._in_hand >= IN_HAND or bool(self.outage.error)

    def _last_answer(self, task: str) -> Answer | None:
        """What SWF has said within MERGE seconds."""
        answer = self._answers.get(task)
        if answer is not None and time.monotonic() - answer.at < MERGE:
            return answer
        return None

    def _overtaken(self, delivery: Delivery, beat: Heartbeat, answer: Answer | None) -> Beats:
        """Note the newest of the task; those that need not wait any longer because of it.

        That is all, where they can be answered now. Where SWF takes none, or too many wait, it is
        those that want no answer: nothing of them is left to be told to SWF.
        """
        place = (delivery.life, delivery.tag)
        known = self._newest.get(beat.task)
        if known is not None and known[0] > place:
            return []
        _keep(self._newest, beat.task, (place, beat.details))
        if answer is None and not self._crowded:
            return []
        waiting = self._waiting.get(beat.task, [])
        stay = [] if answer is not None else [each for each in waiting if _reply_to(each[0])]
        overtaken = [each for each in waiting if each not in stay]
        waiting[:] = stay
        return overtaken

    def _admit(self, delivery: Delivery, beat: Heartbeat) -> Outcome | None:
        """What becomes of the heartbeat now; None where it goes to SWF."""
        newest = self._newest[beat.task][0] == (delivery.life, delivery.tag)
        if self._crowded and not newest and not _reply_to(delivery):
            return Ack()
        if self._in_hand >= IN_HAND:
            return Later(MERGE, "as many heartbeats as may wait do so")
        self._in_hand += 1
        if (waiting := self._waiting.get(beat.task)) is not None:
            waiting.append((delivery, beat))
        else:
            self._waiting[beat.task] = []
            self.work.put(partial(self._carry, [(delivery, beat)]))
        return None

    # --- conversations with SWF ---

    async def _carry(self, beats: Beats) -> Settled:
        """One heartbeat to SWF for all of ``beats``; the newest details go with it."""
        _, last = beats[-1]
        try:
            return await self._beat(beats, last)
        except BadReply as error:
            return await self._refused(beats, last, error)
        except Unavailable as error:
            self.outage.begin(error)
            return self._put_off(beats, error)
        except PartFailed:
            raise
        except Exception as error:
            of = self._peers.what_is(last.task)
            log.exception("reply.unexpected", extra={"error": type(error).__name__, **of})
            return self._put_off(beats, Unavailable(type(error).__name__))
        finally:
            self._timer.later(MERGE, partial(self._next, last.task))

    async def _beat(self, beats: Beats, last: Heartbeat) -> Settled:
        is_open, cancel = True, False
        _, details = self._newest.get(last.task, ((), last.details))
        try:
            cancel = await self._swf.heartbeat(last.token, details)
        except TaskClosed:
            is_open = False
            if not self._peers.settled_before(last.task):
                self._peers.released(last.task, "closed in SWF")
        self.outage.end()
        if is_open:
            self._keepalive.heard(last.task)
        answer = Answer(time.monotonic(), is_open, cancel)
        with self._lock:
            _keep(self._answers, last.task, answer)
        for delivery, beat in beats:
            self._publish_answer(delivery, beat, answer)
        if cancel:
            self._peers.cancel_requested(last.task)
        self._metrics.count(m.REPLIES, "heartbeat", by=len(beats))
        return self._done(beats, lambda delivery: Ack())

    async def _refused(self, beats: Beats, last: Heartbeat, error: BadReply) -> Settled:
        """SWF refuses the token, and with it all that wait for it; or the details of the last.

        Then its task is failed, and the others will be told that it is not open.
        """
        if not isinstance(error, Rejected):
            with self._lock:
                _keep(self._answers, last.task, Answer(time.monotonic(), refusal=error))
                beats = [*beats, *self._waiting[last.task]]
                self._waiting[last.task] = []
                self._in_hand -= len(beats)
            return await self._refuse(beats, error)
        settled = self._done(beats[:-1], lambda delivery: Later(MERGE, str(error)))
        with self._lock:
            self._in_hand -= 1
        return [*settled, *await self._refuse(beats[-1:], error)]

    async def _refuse(self, beats: Beats, error: BadReply) -> Settled:
        return [(each, await self._settlement.refuse(each, error)) for each, _ in beats]

    def _put_off(self, beats: Beats, error: Unavailable) -> Settled:
        self._metrics.count(m.REPLIES, "later", by=len(beats))
        return self._done(beats, partial(put_off, error=error))

    def _next(self, task: str) -> None:
        """Time for the next heartbeat of the task, if any came meanwhile."""
        with self._lock:
            beats = self._waiting[task]
            if not beats:
                del self._waiting[task]
                return
            self._waiting[task] = []
        self.work.put(partial(self._carry, beats))

    def _done(self, beats: Beats, outcome: Callable[[Delivery], Outcome]) -> Settled:
        with self._lock:
            self._in_hand -= len(beats)
        return [(delivery, outcome(delivery)) for delivery, _ in beats]

    def _publish_answer(self, delivery: Delivery, beat: Heartbeat, answer: Answer) -> None:
        reply_to = _reply_to(delivery)
        if not reply_to:
            return
        if self._topology.is_ours(reply_to):
            log.warning("heartbeat.not_answered", extra={"task": beat.task, "queue": reply_to})
            return
        message = heartbeat_answer(
            beat.token,
            reply_to,
            delivery.properties.get("correlation_id"),
            is_open=answer.is_open,
            cancel_requested=answer.cancel,
        )
        self._publisher.publish(message, log_unsent)


Kept = TypeVar("Kept")


def _keep(kept: OrderedDict[str, Kept], task: str, value: Kept) -> None:
    """Remember the value as the newest, and forget the oldest of too many."""
    kept[task] = value
    kept.move_to_end(task)
    if len(kept) > KEPT:
        kept.popitem(last=False)


def _reply_to(delivery: Delivery) -> str:
    """The queue that wants the answer; nothing where none does."""
    reply_to = delivery.properties.get("reply_to")
    return reply_to if isinstance(reply_to, str) else ""

"""The heartbeats of workers: merged where they come too fast, each answered where it asks for it.

They have a line of their own, so that a service which answers heartbeats slowly, or not at all,
delays no result; and they may fill but a part of the prefetch, so that they do not crowd it out.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Protocol

from bridge.errors import BadReply, PartFailed, Rejected, TaskClosed, Unavailable
from bridge.flow.peers import Instances, Publish, log_unsent
from bridge.message import heartbeat_answer
from bridge.rabbitmq.consumer import Ack, Delivery, Later, Outcome, put_off
from bridge.rabbitmq.topology import Topology
from bridge.swf.executor import Jobs
from bridge.swf.runner import Conversation
from bridge.task import Heartbeat
from bridge.telemetry import metrics as m
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.outage import Outage

log = logging.getLogger(__name__)

MERGE = 1.0
"""Seconds between two heartbeats of a task to SWF: its time-outs are counted in seconds."""
IN_HAND = 64
"""Heartbeats that wait here at most; more are held by the consumer, as replies are that SWF cannot
take now."""
NEWEST_KEPT = 1024
"""Tasks whose newest heartbeat is known: more than may have one without an acknowledgement."""

Beats = list[tuple[Delivery, Heartbeat]]
Place = tuple[int, int]
"""Where a delivery stands among all: the life of the channel, and its tag."""


class Beat(Protocol):
    """The one call of SWF that is made here."""

    def heartbeat(self, token: str, details: str | None) -> Conversation[bool]:
        """Whether SWF asks to cancel the task."""


class Heartbeats:
    """What workers' heartbeats are answered by. ``take`` may be called from any thread.

    ``work`` is for the threads that carry heartbeats to SWF; ``refuse`` is given each delivery that
    SWF will never accept, with SWF's error.
    """

    def __init__(
        self,
        swf: Beat,
        instances: Instances,
        publisher: Publish,
        metrics: Metrics,
        *,
        topology: Topology,
        later: Callable[[float, Callable[[], object]], object],
        refuse: Callable[[Delivery, BadReply], object],
    ) -> None:
        self.work: Jobs[Callable[[], Conversation[None]]] = Jobs()
        self.outage = Outage(log, "heartbeats.failing", "heartbeats.back")
        """Whether SWF takes heartbeats."""
        self._swf = swf
        self._instances = instances
        self._publisher = publisher
        self._metrics = metrics
        self._topology = topology
        self._later = later
        self._refuse = refuse
        self._lock = threading.Lock()
        self._in_hand = 0
        self._waiting: dict[str, Beats] = {}
        """By task: those that wait while a heartbeat is on its way, or was just now."""
        self._newest: OrderedDict[str, tuple[Place, str | None]] = OrderedDict()
        """By task: the details that are to be SWF's last, also where an older one is tried again
        after it."""

    def __repr__(self) -> str:
        return f"<Heartbeats {self._in_hand} in hand>"

    def take(self, delivery: Delivery, beat: Heartbeat) -> None:
        """Have the heartbeat carried to SWF, with others of its task where these come fast."""
        with self._lock:
            overtaken = self._overtaken(delivery, beat)
            outcome = self._admit(delivery, beat)
        if outcome is not None:
            delivery.settle(outcome)
        self._done(overtaken, lambda delivery: Ack())
        self._metrics.count(m.REPLIES, "heartbeat", by=len(overtaken))

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

    def _overtaken(self, delivery: Delivery, beat: Heartbeat) -> Beats:
        """Note the newest of the task; what it overtakes, where SWF takes none or too many wait.

        Of those that want no answer nothing is left to be told to SWF.
        """
        place = (delivery.life, delivery.tag)
        known = self._newest.get(beat.task)
        if known is not None and known[0] > place:
            return []
        self._newest[beat.task] = (place, beat.details)
        self._newest.move_to_end(beat.task)
        if len(self._newest) > NEWEST_KEPT:
            self._newest.popitem(last=False)
        if not self._crowded:
            return []
        waiting = self._waiting.get(beat.task, [])
        overtaken = [each for each in waiting if not _reply_to(each[0])]
        waiting[:] = [each for each in waiting if _reply_to(each[0])]
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

    async def _carry(self, beats: Beats) -> None:
        """One heartbeat to SWF for all of ``beats``; the newest details go with it."""
        _, last = beats[-1]
        try:
            await self._beat(beats, last)
        except BadReply as error:
            self._refused(beats, error)
        except Unavailable as error:
            self.outage.begin(error)
            self._put_off(beats, error)
        except PartFailed:
            raise
        except Exception as error:
            of = self._instances.what_is(last.task)
            log.exception("reply.unexpected", extra={"error": type(error).__name__, **of})
            self._put_off(beats, Unavailable(type(error).__name__))
        finally:
            self._later(MERGE, partial(self._next, last.task))

    async def _beat(self, beats: Beats, last: Heartbeat) -> None:
        is_open, cancel = True, False
        _, details = self._newest.get(last.task, ((), last.details))
        try:
            cancel = await self._swf.heartbeat(last.token, details)
        except TaskClosed:
            is_open = False
            if not self._instances.settled_before(last.task):
                self._instances.released(last.task, "closed in SWF")
        self.outage.end()
        for delivery, beat in beats:
            self._answer(delivery, beat, is_open=is_open, cancel=cancel)
        if cancel:
            self._instances.cancel_requested(last.task)
        self._done(beats, lambda delivery: Ack())
        self._metrics.count(m.REPLIES, "heartbeat", by=len(beats))

    def _refused(self, beats: Beats, error: BadReply) -> None:
        """All name the same token; where it is good, the details of one were SWF's to refuse.

        Then its task is failed, and the others will be told that it is not open.
        """
        guilty = beats[-1:] if isinstance(error, Rejected) else beats
        self._done(beats[: len(beats) - len(guilty)], lambda delivery: Later(MERGE, str(error)))
        with self._lock:
            self._in_hand -= len(guilty)
        for delivery, _ in guilty:
            self._refuse(delivery, error)

    def _put_off(self, beats: Beats, error: Unavailable) -> None:
        self._done(beats, partial(put_off, error=error))
        self._metrics.count(m.REPLIES, "later", by=len(beats))

    def _next(self, task: str) -> None:
        """Time for the next heartbeat of the task, if any came meanwhile."""
        with self._lock:
            beats = self._waiting[task]
            if not beats:
                del self._waiting[task]
                return
            self._waiting[task] = []
        self.work.put(partial(self._carry, beats))

    def _done(self, beats: Beats, outcome: Callable[[Delivery], Outcome]) -> None:
        with self._lock:
            self._in_hand -= len(beats)
        for delivery, _ in beats:
            delivery.settle(outcome(delivery))

    def _answer(self, delivery: Delivery, beat: Heartbeat, *, is_open: bool, cancel: bool) -> None:
        reply_to = _reply_to(delivery)
        if not reply_to:
            return
        if self._topology.is_ours(reply_to):
            log.warning("heartbeat.not_answered", extra={"task": beat.task, "queue": reply_to})
            return
        correlation_id = delivery.properties.get("correlation_id")
        message = heartbeat_answer(
            beat.token, reply_to, correlation_id, is_open=is_open, cancel_requested=cancel
        )
        self._publisher.publish(message, log_unsent)


def _reply_to(delivery: Delivery) -> str:
    """The queue that wants the answer; nothing where none does."""
    reply_to = delivery.properties.get("reply_to")
    return reply_to if isinstance(reply_to, str) else ""

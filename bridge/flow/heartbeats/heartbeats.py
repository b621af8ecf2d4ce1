"""Forwards workers' heartbeats to SWF, and answers each that has a ``reply_to``.

Heartbeats have threads of their own, so that slow or missing answers of SWF to heartbeats delay no
result. ``merge`` decides which heartbeats go to SWF and how many may wait.
"""

import logging
import time
from collections.abc import Callable
from functools import partial

from bridge.errors import BadReply, PartFailed, TaskClosed, Unavailable
from bridge.flow.heartbeats.answers import Answers
from bridge.flow.heartbeats.keepalive import Keepalive
from bridge.flow.heartbeats.merge import MERGE, Answer, Asked, Beats, Merge, asked
from bridge.flow.settling.peers import Peers
from bridge.flow.settling.settlement import Settlement
from bridge.message.message import heartbeat_answer
from bridge.rabbitmq.consuming.delivery import Ack, Delivery, Later, Outcome, Settled, put_off
from bridge.rabbitmq.publisher import Publisher
from bridge.rabbitmq.topology import Topology
from bridge.swf.client import Calls
from bridge.swf.runner import Conversation, JobQueue
from bridge.task import Heartbeat
from bridge.telemetry import metrics as m
from bridge.telemetry import sentry
from bridge.telemetry.outage import Outage
from bridge.telemetry.registry import Metrics
from bridge.threads.timer import Timer

log = logging.getLogger(__name__)


class Heartbeats:
    """Forwards heartbeats and publishes the answers. Safe to use from many threads.

    ``work`` is the queue of the threads that call SWF for heartbeats; each conversation returns
    deliveries with their outcomes.
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
        self.work: JobQueue[Callable[[], Conversation[Settled]]] = JobQueue()
        self.outage = Outage(log, "heartbeats.failing", "heartbeats.back")
        """Open while SWF fails to answer heartbeats."""
        self.merge = Merge(self.outage)
        self._swf = swf
        self._peers = peers
        self._settlement = settlement
        self._keepalive = keepalive
        self._to_workers = Answers(publisher, topology, timer)
        self._metrics = metrics
        self._timer = timer

    def __repr__(self) -> str:
        return f"<Heartbeats {self.merge}>"

    async def take(self, delivery: Delivery, beat: Heartbeat) -> Settled:
        """Take a heartbeat in hand, and queue a call to SWF if none is under way for its task.

        Return the deliveries settled at once: those overtaken by this heartbeat, those answered by
        SWF's answer of the last MERGE seconds, and this one if there is no room for it.
        """
        if refusal := self._settlement.refusal(beat.task):
            return await self._refuse([(delivery, beat)], refusal)
        through, answer, later, begins = self.merge.take(delivery, beat)
        if begins:
            self.work.put(partial(self._carry, [(delivery, beat)]))
        if answer is not None:
            for each in through:
                self._tell(beat.task, asked(*each), answer)
        if through:
            self._metrics.count(m.REPLIES, "heartbeat", by=len(through))
        settled: Settled = [(each, Ack()) for each, _ in through]
        return settled if later is None else [*settled, (delivery, later)]

    async def carry_out(self, work: Callable[[], Conversation[Settled]]) -> Settled:
        """Run one conversation of ``work`` in a Sentry scope of its own."""
        with sentry.work_scope():
            return await work()

    async def own(self, task: str, beat: Callable[[], Conversation[None]]) -> None:
        """Run ``beat``, a heartbeat of the bridge, unless another of the task is under way."""
        if not self.merge.begin(task):
            return
        try:
            await beat()
        finally:
            self._next(task)

    # --- conversations with SWF ---

    async def _carry(self, beats: Beats) -> Settled:
        """Send one heartbeat to SWF for all of ``beats``, with the newest details."""
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
        except Exception as error:  # noqa: BLE001 - told, and tried again
            return self._put_off(beats, self._settlement.unexpected(error, last.task))
        finally:
            self._timer.later(MERGE, partial(self._next, last.task))

    async def _beat(self, beats: Beats, last: Heartbeat) -> Settled:
        is_open, cancel = True, False
        try:
            cancel = await self._swf.heartbeat(last.token, self.merge.details(last))
        except TaskClosed:
            is_open = False
            if not self._peers.settled_before(last.task):
                self._peers.released(last.task, "closed in SWF")
        self.outage.end()
        if is_open:
            self._keepalive.heard(last.task)
        if cancel:
            self._peers.cancel_requested(last.task)
        return self._answer(beats, last.task, Answer(time.monotonic(), is_open, cancel))

    async def _refused(self, beats: Beats, last: Heartbeat, error: BadReply) -> Settled:
        """Settle the heartbeats after SWF refused one: for its token, or for its details.

        If the token is invalid, refuse all heartbeats that wait for it. If the details are refused,
        fail the task and answer the other heartbeats that it is closed.
        """
        *others, blamed = beats
        outcome = await self._settlement.outcome_of(error, blamed[0], last.task)
        settled = self._done([blamed], lambda _: outcome)
        if isinstance(outcome, Later):
            return [*settled, *self._done(others, lambda _: Later(MERGE, str(error)))]
        if (refusal := self._settlement.refusal(last.task)) is None:
            closed = Answer(time.monotonic(), is_open=False)
            return [*settled, *self._answer(others, last.task, closed)]
        others += self.merge.refused(last.task)
        self.merge.done(len(others))
        return [*settled, *await self._refuse(others, refusal)]

    async def _refuse(self, beats: Beats, error: BadReply) -> Settled:
        outcome_of = self._settlement.outcome_of
        return [(each, await outcome_of(error, each, beat.task)) for each, beat in beats]

    def _answer(self, beats: Beats, task: str, answer: Answer) -> Settled:
        """Answer ``beats``, heartbeats that came meanwhile, and overtaken ones not yet answered."""
        settled, addresses = self.merge.answered(task, beats, answer)
        for each in addresses:
            self._tell(task, each, answer)
        self._metrics.count(m.REPLIES, "heartbeat", by=len(settled))
        return [(delivery, Ack()) for delivery, _ in settled]

    def _put_off(self, beats: Beats, error: Unavailable) -> Settled:
        self._metrics.count(m.REPLIES, "later", by=len(beats))
        return self._done(beats, partial(put_off, error=error))

    def _next(self, task: str) -> None:
        """Queue the next call to SWF for the task, if heartbeats came meanwhile."""
        if beats := self.merge.next(task):
            self.work.put(partial(self._carry, beats))

    def _done(self, beats: Beats, outcome: Callable[[Delivery], Outcome]) -> Settled:
        self.merge.done(len(beats))
        return [(delivery, outcome(delivery)) for delivery, _ in beats]

    def _tell(self, task: str, asked: Asked, answer: Answer) -> None:
        """Publish the answer to one heartbeat of the task. Errors are logged, never raised."""
        if not asked.reply_to:
            return
        try:
            message = heartbeat_answer(
                asked.token,
                asked.reply_to,
                asked.correlation_id,
                is_open=answer.is_open,
                cancel_requested=answer.cancel,
            )
            self._to_workers.publish(message, task)
        except Exception as error:  # noqa: BLE001 - told
            self._settlement.unexpected(error, task)

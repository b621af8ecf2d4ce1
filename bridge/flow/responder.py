"""Handles replies: decode, respond to SWF, return an Outcome. Every path returns an Outcome.

A reply settles its task by the token alone, whichever instance polled it. No responder thread
waits to retry: the delivery is returned with a delay. The replies of one task are handled in
order, without a thread for each. With libcurl one thread runs all calls, with boto3 each runs one.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from bridge.errors import BadReply, PartFailed, Refused, Rejected, TaskClosed, Unavailable
from bridge.flow.heartbeats.heartbeats import Heartbeats
from bridge.flow.heartbeats.keepalive import Keepalive
from bridge.flow.settling.peers import Peers
from bridge.flow.settling.settlement import Settlement, status_of
from bridge.flow.settling.turns import Strangers, Turn, Turns
from bridge.flow.timeouts.deadlines import Deadlines
from bridge.message.message import names_no_task, sender, worker
from bridge.message.replies import decode_reply
from bridge.message.undeliverable import deadline_of, decode_undeliverable, is_expired
from bridge.rabbitmq.consuming.delivery import Ack, Delivery, Outcome, Settled, Wait, put_off
from bridge.rabbitmq.topology import Topology
from bridge.swf.client import Calls
from bridge.swf.runner import Conversation, JobQueue
from bridge.task import Canceled, Failed, Heartbeat, Reply
from bridge.telemetry import metrics as m
from bridge.telemetry import sentry
from bridge.telemetry.registry import Metrics
from bridge.telemetry.repeated import Repeated

log = logging.getLogger(__name__)

FAIL_BACK_RETRY = 5.0
NOT_REQUESTED = "canceled without request"


Work = Delivery | Turn | Callable[[], Conversation[Settled]]
"""A delivery, one of Strangers for which there is room now, or another conversation with SWF."""


class Responder:
    """Handles deliveries. Shared by all responder threads.

    Of ``room`` replies that are answered at a time, three quarters may be of tasks that this
    instance does not hold.
    """

    def __init__(
        self,
        swf: Calls,
        metrics: Metrics,
        *,
        peers: Peers,
        settlement: Settlement,
        heartbeats: Heartbeats,
        keepalive: Keepalive,
        deadlines: Deadlines,
        topology: Topology,
        room: int,
    ) -> None:
        self.work: JobQueue[Work] = JobQueue()
        """Deliveries and other work for the responder threads."""
        self._swf = swf
        self._peers = peers
        self._settlement = settlement
        self._heartbeats = heartbeats
        self._keepalive = keepalive
        self._deadlines = deadlines
        self._metrics = metrics
        self._topology = topology
        self.turns = Turns()
        self.strangers = Strangers(max(1, room * 3 // 4))
        self._late = Repeated(log, "reply.late")
        self._duplicate = Repeated(log, "reply.duplicate", logging.INFO)
        self._undelivered = Repeated(log, "task.undeliverable")

    # --- for every thread ---

    def fail_back(self, reply: Failed, again: Callable[[float], object]) -> None:
        """Queue failing a task in SWF that no worker could get; call ``again`` to retry later."""
        self.work.put(partial(self._give_back, reply, again))

    # --- one piece of work, as a conversation with SWF ---

    async def handle(self, work: Work) -> Settled:
        """Handle one piece of work, and the replies of its task that queued up meanwhile.

        On an unexpected error, MemoryError included, a delivery is put off. Raises only
        PartFailed, when the journal is damaged.
        """
        with sentry.work_scope():
            match work:
                case Delivery() as delivery:
                    conversation = self._handle(delivery)
                case Turn(delivery=delivery) as turn:
                    conversation = _in_span(delivery, self._take_stranger(turn))
                case _:
                    return await work()
            try:
                return await conversation
            except PartFailed:
                raise
            except Exception as error:
                log.exception("reply.unexpected", extra={"error": type(error).__name__})
                return [(delivery, put_off(delivery, Unavailable(type(error).__name__)))]

    async def _handle(self, delivery: Delivery) -> Settled:
        if delivery.queue == self._topology.notice_queue:
            self._hear(delivery)
            return [(delivery, Ack())]
        return await _in_span(delivery, self._take(delivery))

    async def _take(self, delivery: Delivery) -> Settled:
        undeliverable = delivery.queue == self._topology.undeliverable
        if undeliverable and names_no_task(delivery.body, delivery.properties):
            log.info("undeliverable.no_task", extra={"type": str(delivery.properties.get("type"))})
            return [(delivery, Ack())]
        decode = decode_undeliverable if undeliverable else decode_reply
        rejected = None
        try:
            reply = decode(delivery.body, delivery.properties["headers"])
        except Rejected as error:
            reply, rejected = Failed(error.token, error.reason), error
        except BadReply as error:
            return [(delivery, await self._settlement.outcome_of(error, delivery))]
        if isinstance(reply, Heartbeat):
            try:
                return await self._heartbeats.take(delivery, reply)
            except Exception as error:  # noqa: BLE001 - it has an outcome
                return [(delivery, await self._settlement.outcome_of(error, delivery, reply.task))]
        if undeliverable and isinstance(reply, Failed) and rejected is None:
            if self._expired(delivery, reply):
                return [(delivery, Ack())]
            self._undelivered.tell((reply.reason,), task=reply.task, reason=reply.reason)
        return await self._take_turn(Turn(delivery, reply, rejected))

    async def _take_turn(self, turn: Turn) -> Settled:
        """Settle the reply, or have it wait if too many of strangers are being settled."""
        if self._peers.holds(turn.reply.task):
            return await self._take_turns(turn)
        if self.strangers.enter(turn):
            return await self._take_stranger(turn)
        return [(turn.delivery, Wait())]

    async def _take_stranger(self, turn: Turn) -> Settled:
        """Settle the reply of a task that this instance does not hold, then have one go on."""
        try:
            return await self._take_turns(turn)
        finally:
            if (following := self.strangers.leave()) is not None:
                self.work.put(following)

    async def _take_turns(self, turn: Turn) -> Settled:
        """Settle the reply, and others of its task that come meanwhile; none if it must wait."""
        if not self.turns.begin(turn):
            return []
        settled = [(turn.delivery, await self._settle(turn))]
        while following := self.turns.end(turn):
            turn = following
            settled.append((turn.delivery, await _in_span(turn.delivery, self._settle(turn))))
        return settled

    def _hear(self, delivery: Delivery) -> None:
        what, task_ids = self._peers.heard(delivery.body)
        for task_id in task_ids:
            (self._deadlines.dropped if what == "dropped" else self._keepalive.heard)(task_id)

    def _expired(self, delivery: Delivery, reply: Failed) -> bool:
        """Whether the task's message expired in a queue after the deadline in its header.

        Then SWF should have timed out the task, so it is not failed; SWF is asked about it.
        """
        headers = delivery.properties["headers"]
        deadline = deadline_of(headers) if is_expired(headers) else None
        if deadline is None or not self._deadlines.is_past(deadline):
            return False
        self._metrics.count(m.REPLIES, "expired")
        log.debug("task.dropped", extra={"task": reply.task})
        self._deadlines.dropped(reply.task)
        return True

    async def _settle(self, turn: Turn) -> Outcome:
        delivery, reply, rejected = turn
        try:
            if rejected:
                raise rejected
            await self._respond(delivery, reply)
        except Exception as error:  # noqa: BLE001 - it has an outcome
            return await self._settlement.outcome_of(error, delivery, reply.task)
        self._settlement.outage.end()
        return Ack()

    async def _respond(self, delivery: Delivery, reply: Reply) -> None:
        """Close the task in SWF as the reply says, unless it is closed already."""
        try:
            self._settlement.check(reply.task)
            if isinstance(reply, Canceled):
                await self._cancel(reply)
            else:
                await self._settlement.close(reply)
        except TaskClosed:
            self._closed_before(delivery, reply)
            self._settlement.found_closed(reply.task)

    # --- the rows of contract §3 ---

    def _closed_before(self, delivery: Delivery, reply: Reply) -> None:
        """Count and log a reply to a task that is already closed: duplicate, expired or late."""
        kind = tuple(worker(delivery.properties).values())
        of = {"task": reply.task, "status": status_of(reply), **sender(delivery.properties)}
        if self._peers.settled_before(reply.task):
            self._metrics.count(m.REPLIES, "duplicate")
            self._duplicate.tell(kind, **of)
            return
        known = self._settlement.is_closed(reply.task)  # if so, a notice has been sent already
        held = None if known else self._peers.released(reply.task, "closed in SWF")
        if delivery.queue == self._topology.undeliverable and is_expired(
            delivery.properties["headers"]
        ):
            self._metrics.count(m.REPLIES, "expired")
            log.debug("task.dropped", extra={"task": reply.task})
            return
        since = held.polled_at if held else delivery.properties.get("timestamp")
        age = round(max(0.0, time.time() - since), 1) if since else None
        self._metrics.count(m.REPLIES, "late")
        self._late.tell(kind, **of, age=age)

    async def _cancel(self, reply: Canceled) -> None:
        """Cancel the task in SWF; if SWF refuses, one heartbeat decides what to do."""
        try:
            await self._swf.respond(reply)
        except (TaskClosed, Rejected, Refused) as error:
            if await self._swf.heartbeat(reply.token, None):
                if isinstance(error, TaskClosed):  # open: cancellation was requested in between
                    raise Unavailable("CancelRefused", str(error)) from None
                raise
            await self._settlement.close(Failed(reply.token, NOT_REQUESTED, reply.details))
        else:
            self._settlement.closed(reply)

    # --- the bridge's own failures ---

    async def _give_back(self, reply: Failed, again: Callable[[float], object]) -> Settled:
        extra = {"task": reply.task, "reason": reply.reason}
        try:
            await self._swf.respond(reply)
        except Unavailable as error:
            self._settlement.outage.begin(error)
            log.debug("task.fail_back_later", extra={**extra, "error": str(error)})
            again(FAIL_BACK_RETRY)
            return []
        except TaskClosed:
            self._peers.released(reply.task, "closed in SWF")
            return []
        except BadReply as error:
            extra["error"] = str(error)
        except Exception:
            of = self._peers.what_is(reply.task)
            log.exception("task.fail_back_unexpected", extra={**extra, **of})
            again(FAIL_BACK_RETRY)
            return []
        if held := self._peers.settled(reply.task):
            self._metrics.count(m.TASKS_FAILED_BACK, held.domain, held.task_list)
        log.warning("task.failed_back", extra=extra)
        return []


T = TypeVar("T")


async def _in_span(delivery: Delivery, conversation: Conversation[T]) -> T:
    """Run the conversation in a Sentry span that continues the trace of the delivery."""
    message_id = str(delivery.properties.get("message_id", ""))
    headers = delivery.properties["headers"]
    with sentry.process_span(headers, delivery.queue, message_id, len(delivery.body)):
        return await conversation

"""Back: decode → respond → Outcome. Law: after a delivery every path returns an Outcome.

A reply settles its task by the token alone, whichever instance polled it. No responder waits: what
SWF cannot take now is handed back with a time, and the replies of one task wait for each other
without a thread. With libcurl one thread has all answers on their way, with boto3 each one.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from bridge.errors import BadReply, PartFailed, Refused, Rejected, TaskClosed, Unavailable
from bridge.flow.peers import Instances
from bridge.message import decode_reply, decode_undeliverable
from bridge.rabbitmq.consumer import Ack, Delivery, Outcome, Park, put_off
from bridge.rabbitmq.topology import Topology
from bridge.swf.executor import Jobs
from bridge.swf.runner import Conversation
from bridge.task import Canceled, Completed, Failed, Heartbeat, Reply
from bridge.telemetry import metrics as m
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.outage import Outage

log = logging.getLogger(__name__)

FAIL_BACK_RETRY = 5.0
NOT_REQUESTED = "canceled without request"


class Answers(Protocol):
    """The calls of SWF that a responder makes."""

    def respond(self, reply: Reply) -> Conversation[None]:
        """Close a task."""

    def heartbeat(self, token: str, details: str | None) -> Conversation[bool]:
        """Whether SWF asks to cancel the task."""


class TakesHeartbeats(Protocol):
    """The heartbeats of workers, and what follows from a worker's first word."""

    def take(self, delivery: Delivery, beat: Heartbeat) -> None:
        """Have the heartbeat carried to SWF."""


Work = Delivery | Callable[[], "Conversation[Settled]"]
"""A message that came back, or something else that SWF has to be told."""
Settled = list[tuple[Delivery, Outcome]]
"""Deliveries with their outcomes, for the consumer to carry out."""


class Turns:
    """One responder at a time for a task, in the order in which its replies came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[tuple[Delivery, Reply]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, delivery: Delivery, reply: Reply) -> bool:
        """Whether it is the reply's turn now; else it is kept until the others are through."""
        with self._lock:
            if (waiting := self._waiting.get(reply.task)) is None:
                self._waiting[reply.task] = deque()
                return True
            waiting.append((delivery, reply))
            return False

    def end(self, reply: Reply) -> tuple[Delivery, Reply] | None:
        """The next reply of the same task, whose turn it is now."""
        with self._lock:
            if waiting := self._waiting[reply.task]:
                return waiting.popleft()
            del self._waiting[reply.task]
            return None


class Responder:
    """How what comes back is answered; all responder threads share it.

    ``heartbeats`` are answered elsewhere; ``heard`` is told of each task whose worker spoke.
    """

    def __init__(
        self,
        swf: Answers,
        instances: Instances,
        metrics: Metrics,
        *,
        topology: Topology,
        heartbeats: TakesHeartbeats,
        heard: Callable[[str], object] = lambda task_id: None,
    ) -> None:
        self.work: Jobs[Work] = Jobs()
        self.outage = Outage(log, "answers.failing", "answers.back")
        """Whether SWF takes answers."""
        self._swf = swf
        self._instances = instances
        self._metrics = metrics
        self._topology = topology
        self._heartbeats = heartbeats
        self._heard = heard
        self._turns = Turns()

    # --- for every thread ---

    def deliver(self, delivery: Delivery) -> None:
        """Have the delivery handled."""
        self.work.put(delivery)

    def fail_back(self, reply: Failed, again: Callable[[float], object]) -> None:
        """Have a task failed in SWF that no worker could be given."""
        self.work.put(partial(self._give_back, reply, again))

    def refuse(self, delivery: Delivery, error: BadReply) -> None:
        """Have the delivery parked for ``error``, and its task failed where that is Rejected."""
        self.work.put(partial(self._refused, delivery, error))

    # --- one piece of work, as a conversation with SWF ---

    async def handle(self, work: Work) -> Settled:
        """Handle one piece of work, and the replies that waited for their turn meanwhile.

        Nothing that a worker sends raises here; PartFailed does, where the journal is damaged.
        """
        if not isinstance(work, Delivery):
            return await work()
        if work.queue == self._topology.notice_queue:
            return [(work, await self._guarded(work, self._hear(work)))]
        return await self._take(work)

    async def _take(self, delivery: Delivery) -> Settled:
        undeliverable = delivery.queue == self._topology.undeliverable
        decode = decode_undeliverable if undeliverable else decode_reply
        try:
            reply = decode(delivery.body, delivery.properties["headers"])
        except BadReply as error:
            return await self._refused(delivery, error)
        if isinstance(reply, Heartbeat):
            self._heard(reply.task)
            self._heartbeats.take(delivery, reply)
            return []
        if undeliverable and isinstance(reply, Failed):
            log.warning("task.undeliverable", extra={"task": reply.task, "reason": reply.reason})
        settled: Settled = []
        turn = (delivery, reply) if self._turns.begin(delivery, reply) else None
        while turn:
            delivery, reply = turn
            answer = self._respond(delivery, reply)
            settled.append((delivery, await self._guarded(delivery, answer, reply.task)))
            turn = self._turns.end(reply)
        return settled

    async def _refused(self, delivery: Delivery, error: BadReply) -> Settled:
        return [(delivery, await self._guarded(delivery, self._bad(error)))]

    async def _hear(self, delivery: Delivery) -> Outcome:
        self._instances.heard(delivery.body)
        return Ack()

    async def _guarded(
        self, delivery: Delivery, answer: Conversation[Outcome], task_id: str = ""
    ) -> Outcome:
        """The outcome, whatever SWF or the reply do."""
        try:
            outcome = await answer
        except BadReply as error:
            return await self._guarded(delivery, self._bad(error))
        except Unavailable as error:
            self.outage.begin(error)
            self._metrics.count(m.REPLIES, "later")
            return put_off(delivery, error)
        except PartFailed:
            raise
        except Exception as error:
            of = self._instances.what_is(task_id)
            log.exception("reply.unexpected", extra={"error": type(error).__name__, **of})
            return put_off(delivery, Unavailable(type(error).__name__))
        self.outage.end()
        return outcome

    async def _respond(self, delivery: Delivery, reply: Reply) -> Outcome:
        try:
            match reply:
                case Canceled():
                    await self._cancel(reply)
                case _:
                    await self._swf.respond(reply)
                    self._settled(reply)
        except TaskClosed:
            self._closed_before(delivery, reply)
        return Ack()

    # --- the rows of contract §3 ---

    def _settled(self, reply: Reply) -> None:
        status = _status(reply)
        self._metrics.count(m.REPLIES, status)
        if held := self._instances.settled(reply.task):
            seconds = max(0.0, time.time() - held.polled_at)
            self._metrics.observe(m.TASK_DURATION, seconds, held.domain, held.task_list, status)
        log.debug("reply.settled", extra={"task": reply.task, "status": status})

    def _closed_before(self, delivery: Delivery, reply: Reply) -> None:
        """SWF closed the task before this reply: by an earlier one of ours, or without us."""
        extra: dict[str, object] = {"task": reply.task, "status": _status(reply)}
        if self._instances.settled_before(reply.task):
            self._metrics.count(m.REPLIES, "duplicate")
            log.info("reply.duplicate", extra=extra)
            return
        held = self._instances.released(reply.task, "closed in SWF")
        since = held.polled_at if held else delivery.properties.get("timestamp")
        age = round(max(0.0, time.time() - since), 1) if since else None
        self._metrics.count(m.REPLIES, "late")
        log.warning("reply.late", extra={**extra, "age": age})

    async def _cancel(self, reply: Canceled) -> None:
        """Cancel the task in SWF; one heartbeat decides where SWF does not take that."""
        try:
            await self._swf.respond(reply)
        except (TaskClosed, Rejected, Refused) as error:
            if await self._swf.heartbeat(reply.token, None):
                if isinstance(error, TaskClosed):  # it is open: the request came in between
                    raise Unavailable("CancelRefused", str(error)) from None
                raise
            failed = Failed(reply.token, NOT_REQUESTED, reply.details)
            await self._swf.respond(failed)
            self._settled(failed)
        else:
            self._settled(reply)

    async def _bad(self, error: BadReply) -> Outcome:
        """To the dead letters; the task, where it is known, must not leave its workflow hanging."""
        if isinstance(error, Rejected):
            failed = Failed(error.token, error.reason)
            try:
                await self._swf.respond(failed)
                self._settled(failed)
            except TaskClosed:
                self._instances.released(failed.task, "closed in SWF")
            except BadReply as worse:
                extra = {"task": failed.task, "reason": worse.detail}
                log.warning("task.not_failed", extra=extra)
        self._metrics.count(m.REPLIES, "dead_lettered")
        return Park(error.code, error.detail)

    # --- the bridge's own failures ---

    async def _give_back(self, reply: Failed, again: Callable[[float], object]) -> Settled:
        extra = {"task": reply.task, "reason": reply.reason}
        try:
            await self._swf.respond(reply)
        except Unavailable as error:
            self.outage.begin(error)
            log.debug("task.fail_back_later", extra={**extra, "error": str(error)})
            again(FAIL_BACK_RETRY)
            return []
        except TaskClosed:
            self._instances.released(reply.task, "closed in SWF")
            return []
        except BadReply as error:
            extra["error"] = str(error)
        except Exception:
            of = self._instances.what_is(reply.task)
            log.exception("task.fail_back_unexpected", extra={**extra, **of})
            again(FAIL_BACK_RETRY)
            return []
        if held := self._instances.settled(reply.task):
            self._metrics.count(m.TASKS_FAILED_BACK, held.domain, held.task_list)
        log.warning("task.failed_back", extra=extra)
        return []


def _status(reply: Reply) -> str:
    match reply:
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case Canceled():
            return "canceled"
    return "heartbeat"

"""What SWF is told of a task at its end, and what follows from SWF's answer."""

import logging
import time

from bridge.conversation import Conversation
from bridge.errors import BadReply, PartFailed, Rejected, TaskClosed, Unavailable
from bridge.flow.peers import Peers
from bridge.rabbitmq.consumer import Delivery, Outcome, Park, put_off
from bridge.swf.client import Calls
from bridge.task import Canceled, Completed, Failed, Reply
from bridge.telemetry import metrics as m
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.outage import Outage

log = logging.getLogger(__name__)


class Settlement:
    """Closes tasks in SWF, for replies and for heartbeats. Safe to use from many threads."""

    def __init__(self, swf: Calls, peers: Peers, metrics: Metrics) -> None:
        self.outage = Outage(log, "answers.failing", "answers.back")
        """Whether SWF takes answers."""
        self._swf = swf
        self._peers = peers
        self._metrics = metrics

    async def close(self, reply: Reply) -> None:
        """Close the task in SWF as the reply says; its holder gives it up. Raises as respond."""
        await self._swf.respond(reply)
        self.closed(reply)

    def closed(self, reply: Reply) -> None:
        """SWF has closed the task as the reply says."""
        status = status_of(reply)
        self._metrics.count(m.REPLIES, status)
        if held := self._peers.settled(reply.task):
            seconds = max(0.0, time.time() - held.polled_at)
            self._metrics.observe(m.TASK_DURATION, seconds, held.domain, held.task_list, status)
        log.debug("reply.settled", extra={"task": reply.task, "status": status})

    async def refuse(self, delivery: Delivery, error: BadReply) -> Outcome:
        """The outcome of a reply that can never be accepted: a dead letter.

        Where its task is known, the task is failed first: the workflow must not hang.
        """
        return await self.outcome(delivery, self._refuse(error))

    async def outcome(
        self, delivery: Delivery, answer: Conversation[Outcome], task_id: str = ""
    ) -> Outcome:
        """The outcome of ``answer``, or what follows from the error that it raises.

        Raises PartFailed alone, where the journal is damaged.
        """
        try:
            outcome = await answer
        except BadReply as error:
            return await self.outcome(delivery, self._refuse(error))
        except Unavailable as error:
            self.outage.begin(error)
            self._metrics.count(m.REPLIES, "later")
            return put_off(delivery, error)
        except PartFailed:
            raise
        except Exception as error:
            of = self._peers.what_is(task_id)
            log.exception("reply.unexpected", extra={"error": type(error).__name__, **of})
            return put_off(delivery, Unavailable(type(error).__name__))
        self.outage.end()
        return outcome

    async def _refuse(self, error: BadReply) -> Outcome:
        if isinstance(error, Rejected):
            failed = Failed(error.token, error.reason)
            try:
                await self.close(failed)
            except TaskClosed:
                self._peers.released(failed.task, "closed in SWF")
            except BadReply as worse:
                extra = {"task": failed.task, "reason": worse.detail}
                log.warning("task.not_failed", extra=extra)
        self._metrics.count(m.REPLIES, "dead_lettered")
        return Park(error.code, error.detail)


def status_of(reply: Reply) -> str:
    """The word by which metrics and logs name what a reply says."""
    match reply:
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case Canceled():
            return "canceled"
    return "heartbeat"

"""Closes tasks in SWF, and turns SWF's answers and errors into outcomes of deliveries."""

import logging
import threading
import time
from collections import OrderedDict

from bridge.errors import BadReply, PartFailed, Rejected, TaskClosed, Unavailable
from bridge.flow.settling.peers import Peers
from bridge.rabbitmq.consuming.delivery import Delivery, Outcome, Park, put_off
from bridge.swf.client import Calls
from bridge.task import Canceled, Completed, Failed, Reply
from bridge.task import task_id as id_of_token
from bridge.telemetry import metrics as m
from bridge.telemetry.outage import Outage
from bridge.telemetry.registry import Metrics

log = logging.getLogger(__name__)

INVALID = "token-invalid"
REFUSED = "refused-by-swf"
HOLDS = 1.0
"""Seconds for which SWF's answer "token invalid" or "task closed" is reused for other replies with
that token. Neither state ever changes back."""
KEPT = 1024
"""Maximum number of tasks for which such an answer is remembered."""


class Settlement:
    """Closes tasks in SWF, for replies and for heartbeats. Safe to use from many threads."""

    def __init__(self, swf: Calls, peers: Peers, metrics: Metrics) -> None:
        self.outage = Outage(log, "answers.failing", "answers.back")
        """Open while SWF fails to answer calls."""
        self._swf = swf
        self._peers = peers
        self._metrics = metrics
        self.holds = HOLDS
        """Seconds for which a refusal by SWF is reused for other replies to the same task."""
        self._lock = threading.Lock()
        self._final: OrderedDict[str, tuple[float, BadReply | TaskClosed]] = OrderedDict()

    async def close(self, reply: Reply) -> None:
        """Close the task in SWF as the reply says, then free its slot. Raises what respond does."""
        await self._swf.respond(reply)
        self.closed(reply)

    def closed(self, reply: Reply) -> None:
        """Free the slot and count the reply, after SWF has closed the task as the reply says."""
        status = status_of(reply)
        self._metrics.count(m.REPLIES, status)
        if held := self._peers.settled(reply.task):
            seconds = max(0.0, time.time() - held.polled_at)
            self._metrics.observe(m.TASK_DURATION, seconds, held.domain, held.task_list, status)
        log.debug("reply.settled", extra={"task": reply.task, "status": status})

    def refusal(self, task_id: str) -> BadReply | None:
        """The error to reuse if SWF called the token invalid within the last ``holds`` seconds."""
        word = self._last_word(task_id)
        return BadReply(word.code, word.detail) if isinstance(word, BadReply) else None

    def is_closed(self, task_id: str) -> bool:
        """Whether within ``holds`` seconds SWF called the task closed, or the bridge failed it."""
        return isinstance(self._last_word(task_id), TaskClosed)

    def found_closed(self, task_id: str) -> None:
        """Remember that the task is closed in SWF."""
        self._note(task_id, TaskClosed())

    def check(self, task_id: str) -> None:
        """Raise again what SWF said of the task within ``holds`` seconds: BadReply, TaskClosed."""
        if refusal := self.refusal(task_id):
            raise refusal
        if self.is_closed(task_id):
            raise TaskClosed

    async def outcome_of(self, error: Exception, delivery: Delivery, task_id: str = "") -> Outcome:
        """The outcome of a reply that led to ``error``: a dead letter for BadReply, else a retry.

        If the error names a token that can be failed (Rejected), the task is failed first, so that
        the workflow does not hang. Raises only PartFailed, when the journal is damaged.
        """
        if isinstance(error, PartFailed):
            raise error
        if isinstance(error, BadReply):
            try:
                outcome = await self._refuse(error, task_id)
            except Exception as another:  # noqa: BLE001 - it has an outcome too
                return await self.outcome_of(another, delivery, task_id)
            self.outage.end()
            return outcome
        if isinstance(error, Unavailable):
            self.outage.begin(error)
            self._metrics.count(m.REPLIES, "later")
            return put_off(delivery, error)
        return put_off(delivery, self.unexpected(error, task_id))

    def unexpected(self, error: Exception, task_id: str) -> Unavailable:
        """Log a fault of the bridge; return an error that makes the reply be retried."""
        of = self._peers.what_is(task_id)
        extra = {"error": type(error).__name__, **of}
        log.error("reply.unexpected", extra=extra, exc_info=error)
        return Unavailable(type(error).__name__)

    async def _refuse(self, error: BadReply, task_id: str) -> Park:
        code, about = error.code, self._about(task_id or (error.token and id_of_token(error.token)))
        if isinstance(error, Rejected):
            code = await self._fail(Failed(error.token, error.reason), code)
        elif code == INVALID and task_id:
            self._note(task_id, BadReply(code, error.detail))
        return Park(code, error.detail, about)

    async def _fail(self, failed: Failed, code: str) -> str:
        """Fail the task of a reply that goes to the dead-letter queue; return the code for it.

        SWF is not called if within ``holds`` seconds it has said that nothing closes the task.
        """
        refused = self.refusal(failed.task)
        if self.is_closed(failed.task):
            return code
        if refused is None:
            try:
                await self.close(failed)
            except TaskClosed:
                self._peers.released(failed.task, "closed in SWF")
            except BadReply as error:
                extra = {"task": failed.task, "reason": error.detail}
                log.warning("task.not_failed", extra=extra)
                refused = BadReply(INVALID, error.detail)
                self._note(failed.task, refused)
        if refused is None:
            self.found_closed(failed.task)
            return code
        # SWF takes no reply with this token, not even the bridge's.
        return INVALID if code == REFUSED else code

    def _about(self, task_id: str) -> dict[str, str]:
        """Log fields of the task that a bad reply names; empty if it names none."""
        return {"task": task_id, **self._peers.what_is(task_id)} if task_id else {}

    def _note(self, task_id: str, word: BadReply | TaskClosed) -> None:
        """Remember SWF's answer, unless one is in use: so that each expires after ``holds``."""
        if self._last_word(task_id) is None:
            with self._lock:
                self._final[task_id] = (time.monotonic(), word)
                self._final.move_to_end(task_id)
                if len(self._final) > KEPT:
                    self._final.popitem(last=False)

    def _last_word(self, task_id: str) -> BadReply | TaskClosed | None:
        at, word = self._final.get(task_id, (float("-inf"), None))
        return word if time.monotonic() - at < self.holds else None


def status_of(reply: Reply) -> str:
    """The status of a reply, as metrics and logs name it."""
    match reply:
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case Canceled():
            return "canceled"
    return "heartbeat"

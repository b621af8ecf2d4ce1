"""Notices between instances, so that the one that holds a task learns that it was closed.

Competing instances share the reply queue, so a reply may arrive where its task is not held. The
instance that learns that SWF has closed a task, or asks to cancel it, sends a notice to the others.
The holder then frees its slot and its row of the journal, or tells the worker. Each instance has
a durable queue for notices.
"""

import logging
import re
import threading
from collections.abc import Sequence
from functools import partial

from bridge.bounds import SIZE, decode_json
from bridge.journal.entry import InHand
from bridge.journal.journal import Journal
from bridge.message.message import Message, cancellation, encode_json, properties_of
from bridge.message.routing import RoutingKey
from bridge.rabbitmq.publisher import Fate, Publisher, Receipt
from bridge.rabbitmq.topology import Topology
from bridge.task import ActivityTask
from bridge.telemetry import metrics as m
from bridge.telemetry.registry import Metrics
from bridge.telemetry.repeated import Repeated
from bridge.threads.timer import Timer

log = logging.getLogger(__name__)
_unsent = Repeated(log, "notice.not_sent", logging.INFO)

NOTICE_TYPE = "swf-bridge.notice.v1"
_TASK_ID = re.compile("[0-9a-f]{32}")

SPOKEN_KEPT = 10_000
"""Maximum number of other instances' tasks remembered, so that "spoke" is sent once for each."""
REPEATED = 1_000
"""Number of tasks, the last that this instance closed, of which it tells the others at its start:
a kill may have lost the notices of some."""
SETTLED_ELSEWHERE = "settled by another instance"
NOTICE_RETRY = 5.0
"""Seconds until a cancellation notice is published again after a queue nacked it."""


class Peers:
    """The other instances that share this one's reply queue. Safe to use from many threads."""

    def __init__(
        self,
        journal: Journal,
        publisher: Publisher,
        metrics: Metrics,
        *,
        topology: Topology,
        routing_key: RoutingKey,
        timer: Timer,
    ) -> None:
        self._journal = journal
        self._publisher = publisher
        self._metrics = metrics
        self._topology = topology
        self._routing_key = routing_key
        self._timer = timer
        self._lock = threading.Lock()
        self._spoken: dict[str, None] = {}
        """Other instances' tasks for which "spoke" has been sent, the oldest first."""
        self._untold: list[str] = []
        """Other instances' tasks that were settled here, for the next notice."""

    def settled_before(self, task_id: str) -> bool:
        """Whether this instance settled the task before."""
        return self._journal.was_settled(task_id)

    def what_is(self, task_id: str) -> dict[str, str]:
        """The log fields that name the task; empty if this instance does not hold it."""
        if not task_id or (entry := self._journal.get(task_id)) is None:
            return {}
        task = entry.task
        return {
            "task": task.id,
            "domain": task.domain,
            "task_list": task.task_list,
            "activity": task.name,
        }

    def holds(self, task_id: str) -> bool:
        """Whether this instance holds the task."""
        return self._journal.holds(task_id)

    def settled(self, task_id: str) -> InHand | None:
        """Free the slot of a task closed in SWF by this instance, or tell the others; its data."""
        return self._closed(task_id, remember=True)

    def released(self, task_id: str, reason: str) -> InHand | None:
        """Free the slot of a task that is closed, or counts as closed, without a reply."""
        held = self._closed(task_id, remember=False)
        if held is not None:
            self._count_release(task_id, held, reason)
        return held

    def cancel_requested(self, task_id: str) -> None:
        """Tell the worker once that SWF asks to cancel the task; or send "cancel" to others."""
        entry = self._journal.get(task_id)
        if entry is None:
            self._tell("cancel", [task_id])
            return
        with self._lock:  # heartbeats and notices may say it at the same moment
            first = self._journal.cancel_noticed(task_id)
        if first:
            task = entry.task
            self._metrics.count(m.CANCEL_NOTICES, task.domain, task.task_list)
            log.info("task.cancel_requested", extra={"task": task_id})
            self._tell_worker(task)

    def resume(self) -> None:
        """Publish again the notices that an earlier run may not have got to RabbitMQ."""
        if closed := self._journal.last_settled(REPEATED):
            self._tell("settled", closed)
        for entry in self._journal.cancels_owed():
            self._tell_worker(entry.task)

    def spoke(self, task_id: str) -> None:
        """Send "spoke" for another instance's task, so that its holder stops its heartbeats."""
        if self._journal.holds(task_id):
            return
        with self._lock:
            if task_id in self._spoken:
                return
            self._spoken[task_id] = None
            if len(self._spoken) > SPOKEN_KEPT:
                del self._spoken[next(iter(self._spoken))]
        self._tell("spoke", [task_id])

    def dropped(self, task_id: str) -> None:
        """Send "dropped" for a task whose message expired, so that its holder asks SWF about it."""
        self._tell("dropped", [task_id])

    def heard(self, body: bytes) -> tuple[str, list[str]]:
        """Carry out a notice of another instance about tasks that this instance holds.

        Return what the caller must carry out: ``spoke`` (a worker has sent a reply or heartbeat) or
        ``dropped`` (the message expired) and the tasks; else an empty string and no tasks.
        """
        what, task_ids, sender = decode_notice(body)
        if sender == self._topology.instance:
            return "", []
        held = list(filter(self._journal.holds, task_ids))
        if what in ("spoke", "dropped"):
            return what, held
        for task_id in held:
            if what == "settled" and (closed := self._journal.settle(task_id)):
                self._count_release(task_id, closed, SETTLED_ELSEWHERE)
            elif what == "cancel":
                self.cancel_requested(task_id)
        return "", []

    def _tell_worker(self, task: ActivityTask) -> None:
        message = cancellation(
            task.token,
            task.id,
            exchange=self._topology.cancel_exchange,
            routing_key=self._routing_key.of(task),
        )
        self._publisher.publish(message, partial(self._worker_told, task))

    def _tell_worker_again(self, task: ActivityTask) -> None:
        if self._journal.holds(task.id):  # else there is nobody left to be told
            self._tell_worker(task)

    def _worker_told(self, task: ActivityTask, receipt: Receipt) -> None:
        """Note the outcome of a cancellation notice. Runs on the publisher's thread."""
        match receipt.fate:
            case Fate.CONFIRMED:
                self._timer.later(0.0, partial(self._owe_no_more, task.id))
            case Fate.NACKED:
                self._timer.later(NOTICE_RETRY, partial(self._tell_worker_again, task))
            case _:
                extra = {"task": task.id, "reason": receipt.detail}
                log.warning("cancel.not_told", extra=extra)

    def _owe_no_more(self, task_id: str) -> None:
        self._journal.cancel_told(task_id)
        log.debug("cancel.told", extra={"task": task_id})

    def _closed(self, task_id: str, *, remember: bool) -> InHand | None:
        held = self._journal.settle(task_id, remember=remember)
        if held is None:
            with self._lock:
                self._untold.append(task_id)
            self._journal.afterwards(self._tell_settled)
        return held

    def _tell_settled(self) -> None:
        """Send one notice for all other instances' tasks that were settled here since the last."""
        with self._lock:
            task_ids, self._untold = self._untold, []
        if task_ids:
            self._tell("settled", task_ids)

    def _count_release(self, task_id: str, held: InHand, reason: str) -> None:
        self._metrics.count(m.SLOTS_RELEASED, held.domain, held.task_list, reason)
        # With two instances, half of all tasks are settled elsewhere: too many lines for INFO.
        level = logging.DEBUG if reason == SETTLED_ELSEWHERE else logging.INFO
        log.log(level, "slot.released", extra={"task": task_id, "reason": reason})

    def _tell(self, what: str, task_ids: Sequence[str]) -> None:
        topology = self._topology
        try:
            message = notice(what, task_ids, topology.instance, exchange=topology.notice_exchange)
            self._publisher.publish(message, log_unsent)
        except Exception:  # without a notice, the others learn it from SWF's history
            log.exception("notice.failed", extra={"notice": what})


def log_unsent(receipt: Receipt) -> None:
    """Log the receipt of a message that was not confirmed and is not retried."""
    if receipt.fate is not Fate.CONFIRMED:
        reason = receipt.detail or receipt.fate.value
        _unsent.tell((reason,), reason=reason)


# --- the notices -------------------------------------------------------------------------------


def notice(what: str, task_ids: Sequence[str], sender: str, *, exchange: str) -> Message:
    """A notice to the other instances about tasks that the sender does not hold."""
    body = encode_json({"notice": what, "tasks": task_ids, "from": sender})
    return Message(exchange, "", body, properties_of(NOTICE_TYPE, task_ids[0]), mandatory=False)


def decode_notice(body: bytes) -> tuple[str, list[str], str]:
    """The kind, task ids and sender of a notice; empty values if the body is not a notice."""
    try:
        fields = decode_json(body, values=SIZE // 32)  # the length of an id
        what, task_ids, sender = fields["notice"], fields["tasks"], fields["from"]
    except (ValueError, TypeError, KeyError):
        return "", [], ""
    if not isinstance(task_ids, list) or not all(map(_is_task_id, task_ids)):
        return "", [], ""
    return str(what), task_ids, str(sender)


def _is_task_id(value: object) -> bool:
    return isinstance(value, str) and _TASK_ID.fullmatch(value) is not None

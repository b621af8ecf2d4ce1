"""Publishes every recorded task until RabbitMQ confirms it or it is failed in SWF.

A task that cannot be published waits in the journal; the forwarder schedules only the retry. So a
task that has no queue, or whose queue is full, delays no other task.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from bridge.flow.responder import Responder
from bridge.flow.timeouts.deadlines import Deadlines
from bridge.journal.journal import Journal
from bridge.message.message import Message, task_message
from bridge.message.routing import RoutingKey
from bridge.rabbitmq.publisher import Fate, Publisher, Receipt
from bridge.task import REASON_LIMIT, ActivityTask, Deadline, Failed, cut
from bridge.telemetry import metrics as m
from bridge.telemetry import sentry
from bridge.telemetry.outage import Outage
from bridge.telemetry.registry import Metrics
from bridge.threads.backoff import delay
from bridge.threads.timer import Timer

log = logging.getLogger(__name__)

RETRY_FIRST = 0.25
RETRY_CAP = 5.0


class Unroutable(NamedTuple):
    """A routing key whose tasks no queue accepts, for status and diagnosis."""

    seconds: float
    """Seconds since the first task with the key was returned."""
    why: str
    tasks: int
    """Number of tasks that wait."""
    fails_at: float | None
    """When the first of them is failed in SWF, in seconds since the epoch; None: never."""


class Forwarder:
    """Hands tasks to the publisher, and retries those that were returned or nacked.

    ``forward`` may be called from any thread and never blocks.
    """

    def __init__(
        self,
        journal: Journal,
        publisher: Publisher,
        responder: Responder,
        timer: Timer,
        metrics: Metrics,
        *,
        deadlines: Deadlines,
        exchange: str,
        routing_key: RoutingKey,
        reply_to: str,
        unroutable_timeout: float,
    ) -> None:
        self._journal = journal
        self._publisher = publisher
        self._responder = responder
        self._timer = timer
        self._deadlines = deadlines
        self._metrics = metrics
        self._exchange = exchange
        self._routing_key = routing_key
        self._reply_to = reply_to
        self._unroutable_timeout = unroutable_timeout
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Outage, dict[str, float | None]]] = {}
        """By routing key: the tasks that no queue accepts, each with the time at which it is failed
        in SWF, in seconds since the epoch; None behind a full queue. Guarded by the lock."""
        deadlines.watch(self.forward)

    def __repr__(self) -> str:
        return f"<Forwarder to {self._exchange}, {len(self._waiting)} keys without a queue>"

    def forward(
        self, task: ActivityTask, body: bytes, *, attempt: int = 0, alone: bool = False
    ) -> None:
        """Publish the task as soon as its deadline is found, within a second.

        If no queue accepts it, retry it, and fail it in SWF after ``unroutable_timeout``.
        """
        self._deadlines.find(task, partial(self._publish, task, body, attempt, alone))

    def _publish(
        self, task: ActivityTask, body: bytes, attempt: int, alone: bool, deadline: Deadline
    ) -> None:
        key = self._routing_key.of(task)
        done = partial(self._published, task, key, attempt)
        self._publisher.publish(self._message(task, body, key, deadline), done, alone=alone)

    def republish(
        self, task: ActivityTask, body: bytes, told: Callable[[Fate, str], object]
    ) -> None:
        """Publish once more a task that was confirmed before, with the time that it has left.

        It is neither retried nor failed in SWF. ``told`` is called on the publisher's thread with
        the fate and the reason; it must not block.
        """
        key = self._routing_key.of(task)

        def done(receipt: Receipt) -> None:
            self._metrics.count(m.PUBLISHES, task.domain, task.task_list, receipt.fate.value)
            if receipt.fate is Fate.EXPIRED:
                self._deadlines.expired(task.id)
            confirmed = receipt.fate is Fate.CONFIRMED
            told(receipt.fate, "" if confirmed else _why(receipt, key, self._exchange))

        def publish(deadline: Deadline) -> None:
            self._publisher.publish(self._message(task, body, key, deadline), done)

        self._deadlines.find(task, publish)

    def resume(self) -> None:
        """Publish the unconfirmed tasks that the journal holds from an earlier run."""
        for entry in self._journal.owed():
            self.forward(entry.task, entry.body)

    @property
    def unroutable(self) -> "dict[str, Unroutable]":
        """The routing keys whose tasks no queue accepts."""
        with self._lock:
            waiting = [
                (key, of, list(tasks.values())) for key, (of, tasks) in self._waiting.items()
            ]
        return {
            key: Unroutable(
                outage.seconds,
                outage.error,
                len(ends),
                min((end for end in ends if end is not None), default=None),
            )
            for key, outage, ends in waiting
        }

    def _message(self, task: ActivityTask, body: bytes, key: str, deadline: Deadline) -> Message:
        at, until = self._deadlines.limits(deadline)
        message = task_message(
            task,
            body,
            exchange=self._exchange,
            routing_key=key,
            reply_to=self._reply_to,
            deadline=at,
            until=until,
        )
        with (
            sentry.task_scope(task.domain, task.task_list, task.name),
            sentry.publish_span(message.exchange, task.id, task.name) as headers,
        ):
            return message.with_headers(headers) if headers else message

    # --- what became of a publish; on the publisher's thread ---

    def _published(self, task: ActivityTask, key: str, attempt: int, receipt: Receipt) -> None:
        fate = receipt.fate.value
        self._metrics.observe_publish(task.domain, task.task_list, fate, receipt.seconds)
        match receipt.fate:
            case Fate.CONFIRMED:
                self._journal.published(task.id)
                if self._waiting:
                    self._waits_no_more(task.id, key)
                log.debug("task.published", extra={"task": task.id, "key": key})
            case Fate.NACKED:
                self._wait(task, key, _why(receipt, key, self._exchange))
                self._again(task.id, key, attempt)
            case Fate.EXPIRED:
                self._waits_no_more(task.id, key)
                self._deadlines.expired(task.id)
            case Fate.UNROUTABLE | Fate.REFUSED:
                self._unrouted(task, key, attempt, receipt)

    def _unrouted(self, task: ActivityTask, key: str, attempt: int, receipt: Receipt) -> None:
        waited = time.time() - task.polled_at
        why = _why(receipt, key, self._exchange)
        self._wait(task, key, why, task.polled_at + self._unroutable_timeout)
        if waited >= self._unroutable_timeout:
            reason = cut(f"no worker could be reached: {why}", REASON_LIMIT)
            self._waits_no_more(task.id, key)
            self._give_back(Failed(task.token, reason, f"routing key: {key}"))
        else:
            alone = receipt.fate is Fate.REFUSED
            at_most = self._unroutable_timeout - waited
            self._again(task.id, key, attempt, at_most, alone=alone)

    def _wait(self, task: ActivityTask, key: str, why: str, fails_at: float | None = None) -> None:
        """Note that the task waits, with others of its key, until a queue accepts them."""
        with self._lock:
            if key not in self._waiting:
                outage = Outage(log, "task.unroutable", "task.routable", key=key)
                self._waiting[key] = (outage, {})
            outage, tasks = self._waiting[key]
            tasks[task.id] = fails_at
        outage.begin(why, task=task.id)

    def _waits_no_more(self, task_id: str, key: str) -> None:
        with self._lock:
            if key not in self._waiting:
                return
            outage, tasks = self._waiting[key]
            tasks.pop(task_id, None)
            if tasks:
                return
            del self._waiting[key]
        outage.end()

    def _again(
        self,
        task_id: str,
        key: str,
        attempt: int,
        at_most: float = RETRY_CAP,
        *,
        alone: bool = False,
    ) -> None:
        wait = min(delay(attempt, RETRY_FIRST, RETRY_CAP), at_most)
        self._timer.later(wait, partial(self._retry, task_id, key, attempt + 1, alone=alone))

    def _retry(self, task_id: str, key: str, attempt: int, *, alone: bool) -> None:
        entry = self._journal.get(task_id)
        if entry is None:  # settled meanwhile: timed out in SWF, or failed by an operator
            self._waits_no_more(task_id, key)
        else:
            self.forward(entry.task, entry.body, attempt=attempt, alone=alone)

    def _give_back(self, reply: Failed) -> None:
        self._responder.fail_back(
            reply, lambda seconds: self._timer.later(seconds, partial(self._give_back, reply))
        )


def _why(receipt: Receipt, key: str, exchange: str) -> str:
    if receipt.fate is Fate.REFUSED:
        return f"RabbitMQ refuses routing key {key}: {receipt.detail}"
    if receipt.fate is Fate.EXPIRED:
        return "SWF has given the task up, or is about to"
    if receipt.fate is Fate.NACKED:
        return f"a queue that is bound for routing key {key} is full or failing"
    return f"no queue is bound to exchange {exchange} for routing key {key}"

"""The commands ``tasks list``, ``show``, ``republish`` and ``fail``, on the daemon's side.

Each command runs on the thread of its client and yields its output. It holds no lock while it
waits, and at most WINDOW of its publishes are unconfirmed.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Protocol

from bridge.control.request import Json, Output, Request
from bridge.control.task_filter import TaskFilter, state_of
from bridge.errors import BadReply, Declined, Refused, TaskClosed, Unavailable
from bridge.journal.entry import Entry, InHand
from bridge.journal.journal import Journal
from bridge.rabbitmq.publisher import Fate
from bridge.swf.client import Swf
from bridge.task import REASON_LIMIT, ActivityTask, Failed, cut, utf16_length
from bridge.telemetry import metrics as m
from bridge.telemetry.registry import Metrics
from bridge.threads.backoff import Backoff

WINDOW = 64
TICK = 1.0
RECEIPT_TIMEOUT = 30.0
RETRY_FOR = 20.0
REASON = "failed by an operator"
REASONS_SHOWN = 20

Told = Callable[[Fate, str], object]
Republish = Callable[[ActivityTask, bytes, Told], object]
"""Publish a task again. Never blocks; another thread calls ``Told`` with the fate and why."""


class Settles(Protocol):
    """Frees slot and journal row of a closed task: ``Peers`` of ``flow``, not imported here."""

    def settled(self, task_id: str) -> InHand | None:
        """Let go of a task that this instance has closed in SWF."""

    def released(self, task_id: str, reason: str) -> InHand | None:
        """Let go of a task that was closed without this instance, for ``reason``."""


class TaskCommands:
    """The commands ``tasks …``; ``halted`` tells whether the daemon is stopping.

    Each reports its progress every ``tick`` seconds. ``fail`` retries for ``retry_for`` seconds
    while SWF is throttling or unreachable; ``republish`` gives up after ``receipt_timeout`` seconds
    without any receipt.
    """

    def __init__(
        self,
        journal: Journal,
        swf: Swf,
        instances: Settles,
        metrics: Metrics,
        republish: Republish,
        *,
        broker_ready: Callable[[], bool],
        routing_key: Callable[[ActivityTask], str],
        halted: Callable[[], bool],
        tick: float = TICK,
        retry_for: float = RETRY_FOR,
        receipt_timeout: float = RECEIPT_TIMEOUT,
    ) -> None:
        self._journal = journal
        self._swf = swf
        self._instances = instances
        self._metrics = metrics
        self._republish = republish
        self._broker_ready = broker_ready
        self._routing_key = routing_key
        self._halted = halted
        self._tick = tick
        self._retry_for = retry_for
        self._receipt_timeout = receipt_timeout
        self.commands = {
            "tasks list": self.list_tasks,
            "tasks show": self.show_task,
            "tasks republish": self.republish,
            "tasks fail": self.fail,
        }

    # --- readers ---

    def list_tasks(self, request: Request) -> Output:
        """Every task that the filter selects, the oldest first."""
        limit = request.count("limit")
        shown = matched = 0
        for entry in filter(TaskFilter.of(request), self._journal.tasks()):
            matched += 1
            if limit is None or shown < limit:
                shown += 1
                yield {"row": _row(entry)}
        yield {"result": {"matched": matched, "shown": shown}}

    def show_task(self, request: Request) -> Output:
        """One task, by its id or a unique prefix of it."""
        (entry,) = self._named((request.text("id"),))
        task = entry.task
        shown = _row(entry) | {
            "runId": task.run_id,
            "startedEventId": task.started_event_id,
            "routingKey": self._routing_key(task),
            "inputLength": None if task.input is None else utf16_length(task.input),
            "firstWord": entry.first_word,
            "cancelNoticed": entry.cancel_noticed,
        }
        if request.flag("payload"):
            shown |= {"taskToken": task.token, "input": task.input}
        yield {"result": shown}

    # --- publish again ---

    def republish(self, request: Request) -> Output:
        """Publish every selected, unanswered task again, with the same ``message_id``.

        A task without its first confirm is skipped: the forwarder is still publishing it.
        """
        ids = self._meant(request)
        if request.flag("dry_run"):
            yield from self._preview(ids)
            return
        if not self._broker_ready():
            raise Unavailable("RabbitMQ", "away or blocked; what waits is published when it is not")
        receipts = _Receipts(self._tick, self._receipt_timeout)
        told = time.monotonic()
        for number, task_id in enumerate(ids, 1):
            self._go_on()
            self._publish_again(task_id, receipts)
            while receipts.outstanding >= (WINDOW if number < len(ids) else 1):
                receipts.take()
                if time.monotonic() - told >= self._tick:
                    told = time.monotonic()
                    yield _progress(receipts.counts.total(), len(ids))
        counts = {name: receipts.counts[name] for name in _REPUBLISHED}
        reasons = dict(receipts.reasons.most_common(REASONS_SHOWN))
        yield {"result": {"matched": len(ids), **counts, "reasons": reasons}}

    def _publish_again(self, task_id: str, receipts: "_Receipts") -> None:
        entry = self._journal.get(task_id)
        if entry is None:
            receipts.counts["answered"] += 1
        elif not entry.published:
            receipts.counts["waiting"] += 1
        else:
            self._republish(entry.task, entry.body, receipts.expect())

    # --- fail ---

    def fail(self, request: Request) -> Output:
        """Fail every selected task in SWF and free its slot; yield a row for each."""
        ids = self._meant(request)
        if request.flag("dry_run"):
            yield from self._preview(ids)
            return
        reason = cut(request.text("reason") or REASON, REASON_LIMIT)
        counts: Counter[str] = Counter()
        told = time.monotonic()
        for task_id in ids:
            self._go_on()
            outcome, detail = self._fail(task_id, reason)
            counts[outcome] += 1
            yield {"row": {"id": task_id, "outcome": outcome, "detail": detail}}
            if outcome == "unavailable":
                break
            if time.monotonic() - told >= self._tick:
                told = time.monotonic()
                yield _progress(counts.total(), len(ids))
        counts["left"] = len(ids) - counts.total()
        yield {"result": {"matched": len(ids), **{name: counts[name] for name in _FAILED}}}

    def _fail(self, task_id: str, reason: str) -> tuple[str, str]:
        """Fail one task; return the outcome and its detail."""
        entry = self._journal.get(task_id)
        if entry is None:
            return "answered", ""
        try:
            self._respond(Failed(entry.task.token, reason))
        except TaskClosed:
            self._instances.released(task_id, "closed in SWF")
            return "closed", ""
        except BadReply as error:
            self._instances.released(task_id, "refused by SWF")
            return "refused", str(error)
        except Unavailable as error:
            return "unavailable", str(error)
        if held := self._instances.settled(task_id):
            self._metrics.count(m.TASKS_FAILED_BACK, held.domain, held.task_list)
        return "failed", ""

    def _respond(self, reply: Failed) -> None:
        """Send the reply to SWF; retry while SWF is throttling or unreachable."""
        deadline = time.monotonic() + self._retry_for
        backoff = Backoff(cap=5.0)
        while True:
            try:
                return self._swf.respond(reply)
            except Refused:
                raise
            except Unavailable:
                wait = backoff.next()
                if self._halted() or time.monotonic() + wait > deadline:
                    raise
                time.sleep(wait)

    # --- which tasks are meant ---

    def _meant(self, request: Request) -> list[str]:
        """The ids of the tasks to change. Raises Declined without ids, filters or ``all``."""
        chosen = TaskFilter.of(request)
        named = request.texts("ids")
        if not (named or chosen != TaskFilter() or request.flag("all")):
            raise Declined("usage", "name tasks by id or by filters, or say all")
        entries: Iterable[Entry] = self._named(named) if named else self._journal.tasks()
        ids = [entry.task.id for entry in filter(chosen, entries)]
        return ids[: request.count("limit")]

    def _named(self, prefixes: Iterable[str]) -> list[Entry]:
        """The task of each prefix, once. Raises Declined where a prefix has none or several."""
        ids = [row[0] for row in self._journal.in_hand()]
        found: dict[str, Entry] = {}
        for prefix in prefixes:
            matches = [each for each in ids if prefix and each.startswith(prefix)]
            if len(matches) > 1:
                raise Declined("usage", f"{prefix} begins {len(matches)} ids: give more of it")
            entry = self._journal.get(matches[0]) if matches else None
            if entry is None:
                raise Declined("not-found", f"no task {prefix} is in hand: it may be answered")
            found[entry.task.id] = entry
        return list(found.values())

    def _preview(self, ids: list[str]) -> Output:
        """The tasks that would be changed, and when SWF gave the newest of them: see TaskFilter."""
        newest = 0.0
        for task_id in ids:
            if entry := self._journal.get(task_id):
                newest = max(newest, entry.task.polled_at)
                yield {"row": _row(entry)}
        yield {"result": {"matched": len(ids), "dryRun": True, "newest": newest}}

    def _go_on(self) -> None:
        if self._halted():
            raise Declined("stopping", "the daemon is stopping; what is left was not touched")


_REPUBLISHED = ("confirmed", "unroutable", "refused", "nacked", "expired", "waiting", "answered")
_FAILED = ("failed", "closed", "answered", "refused", "unavailable", "left")


class _Receipts:
    """The receipts of one command; ``counts`` also has the tasks that were not published."""

    def __init__(self, tick: float, timeout: float) -> None:
        self._tick = tick
        self._timeout = timeout
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.outstanding = 0
        self._queue: SimpleQueue[tuple[Fate, str]] = SimpleQueue()
        self._last = time.monotonic()

    def expect(self) -> Told:
        """Count one more publish, and return its callback; any thread may call that."""
        self.outstanding += 1
        return lambda fate, why: self._queue.put((fate, why))

    def take(self) -> None:
        """Wait a tick for a receipt. Raises Unavailable after the time-out without any."""
        try:
            fate, why = self._queue.get(timeout=self._tick)
        except Empty:
            if time.monotonic() - self._last > self._timeout:
                raise Unavailable(
                    "RabbitMQ",
                    f"confirmed {self.counts['confirmed']}, then nothing; {self.outstanding} are"
                    " on their way, and published as soon as it takes them",
                ) from None
            return
        self._last = time.monotonic()
        self.outstanding -= 1
        self.counts[fate.value] += 1
        if why:
            self.reasons[why] += 1


def _row(entry: Entry) -> Json:
    task = entry.task
    return {
        "id": task.id,
        "age": round(max(0.0, time.time() - task.polled_at), 1),
        "polledAt": task.polled_at,
        "state": state_of(entry),
        "domain": task.domain,
        "taskList": task.task_list,
        "name": task.name,
        "version": task.version,
        "workflowId": task.workflow_id,
        "activityId": task.activity_id,
    }


def _progress(done: int, total: int) -> Json:
    return {"progress": {"done": done, "total": total}}

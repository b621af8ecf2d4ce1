"""The heartbeats of workers: merged where they come too fast, each answered where it asks for it.

They have threads of their own, so that a service which answers heartbeats slowly, or not at all,
delays no result.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Protocol

from bridge import metrics as m
from bridge.consumer import Ack, Delivery, Outcome, Park, put_off
from bridge.errors import BadReply, PartFailed, TaskClosed, Unavailable
from bridge.instances import Instances, Publish, log_unsent
from bridge.message import heartbeat_answer
from bridge.metrics import Metrics
from bridge.task import Heartbeat
from bridge.topology import Topology

log = logging.getLogger(__name__)

MERGE = 1.0
"""Seconds between two heartbeats of a task to SWF: its time-outs are counted in seconds."""

Beats = list[tuple[Delivery, Heartbeat]]


class Beat(Protocol):
    """The one call of SWF that is made here."""

    def heartbeat(self, token: str, details: str | None) -> bool:
        """Whether SWF asks to cancel the task."""


class Heartbeats:
    """What workers' heartbeats are answered by. ``take`` may be called from any thread.

    ``work`` is for the threads that carry heartbeats to SWF; ``settle`` is given each delivery with
    its outcome.
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
        settle: Callable[[Delivery, Outcome], object],
    ) -> None:
        self.work: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._swf = swf
        self._instances = instances
        self._publisher = publisher
        self._metrics = metrics
        self._topology = topology
        self._later = later
        self._settle = settle
        self._lock = threading.Lock()
        self._waiting: dict[str, Beats] = {}
        """By task: those that wait while a heartbeat is on its way, or was just now."""

    def take(self, delivery: Delivery, beat: Heartbeat) -> None:
        """Have the heartbeat carried to SWF, with others of its task where these come fast."""
        with self._lock:
            if (waiting := self._waiting.get(beat.task)) is not None:
                waiting.append((delivery, beat))
                return
            self._waiting[beat.task] = []
        self.work.put(partial(self._carry, [(delivery, beat)]))

    def _carry(self, beats: Beats) -> None:
        """One heartbeat to SWF for all of ``beats``; the details of the last go with it."""
        _, last = beats[-1]
        try:
            self._beat(beats, last)
        except BadReply as error:
            park = Park(error.code, error.detail)
            self._settle_all(beats, lambda delivery: park)
            self._metrics.count(m.REPLIES, "dead_lettered", by=len(beats))
        except Unavailable as error:
            self._settle_all(beats, partial(put_off, error=error))
            self._metrics.count(m.REPLIES, "later", by=len(beats))
        except PartFailed:
            raise
        except Exception as error:
            log.exception("reply.unexpected", extra={"error": type(error).__name__})
            self._settle_all(beats, partial(put_off, error=Unavailable(type(error).__name__)))
        finally:
            self._later(MERGE, partial(self._next, last.task))

    def _beat(self, beats: Beats, last: Heartbeat) -> None:
        is_open, cancel = True, False
        try:
            cancel = self._swf.heartbeat(last.token, last.details)
        except TaskClosed:
            is_open = False
            if not self._instances.settled_before(last.task):
                self._instances.released(last.task, "closed in SWF")
        for delivery, beat in beats:
            self._answer(delivery, beat, is_open=is_open, cancel=cancel)
        if cancel:
            self._instances.cancel_requested(last.task)
        self._settle_all(beats, lambda delivery: Ack())
        self._metrics.count(m.REPLIES, "heartbeat", by=len(beats))

    def _next(self, task: str) -> None:
        """Time for the next heartbeat of the task, if any came meanwhile."""
        with self._lock:
            beats = self._waiting[task]
            if not beats:
                del self._waiting[task]
                return
            self._waiting[task] = []
        self.work.put(partial(self._carry, beats))

    def _settle_all(self, beats: Beats, outcome: Callable[[Delivery], Outcome]) -> None:
        for delivery, _ in beats:
            self._settle(delivery, outcome(delivery))

    def _answer(self, delivery: Delivery, beat: Heartbeat, *, is_open: bool, cancel: bool) -> None:
        reply_to = delivery.properties.get("reply_to")
        if not isinstance(reply_to, str) or not reply_to:
            return
        if self._topology.is_ours(reply_to):
            log.warning("heartbeat.not_answered", extra={"task": beat.task, "queue": reply_to})
            return
        correlation_id = delivery.properties.get("correlation_id")
        message = heartbeat_answer(
            beat.token, reply_to, correlation_id, is_open=is_open, cancel_requested=cancel
        )
        self._publisher.publish(message, log_unsent)

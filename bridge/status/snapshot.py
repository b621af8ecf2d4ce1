"""The snapshot of the daemon's state as JSON, for the page, ``swf-bridge status`` and findings.

``swf-bridge status --json`` prints it unchanged, so a member never changes its name. Times are
seconds since the epoch, durations are seconds. It contains no secret.
"""

import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from bridge import __revision__, __version__
from bridge.control import pauses
from bridge.flow.forwarder import Unroutable
from bridge.flow.poller import Poller, Source
from bridge.journal.entry import Standing
from bridge.journal.journal import Journal
from bridge.journal.pauses import Pause
from bridge.journal.slots import Slots
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.consuming.consumer import Consumer
from bridge.rabbitmq.demand import Demand
from bridge.rabbitmq.queue_watch import Depth
from bridge.status.diagnosis.checks import Check, row
from bridge.status.last_hour import LastHour
from bridge.task import TaskListId
from bridge.telemetry import metrics as m
from bridge.telemetry.logs import fields_of
from bridge.telemetry.metrics import Labels, Metric
from bridge.telemetry.redact import redact
from bridge.telemetry.registry import Metrics

LAST_ERRORS = 20
UNROUTABLE_SHOWN = 20
_NOTHING = Standing(0, 0, 0.0)

Json = dict[str, Any]


class LastErrors(logging.Handler):
    """Keeps the last LAST_ERRORS warnings and errors, redacted."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: deque[Json] = deque(maxlen=LAST_ERRORS)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record; one that cannot be formatted is dropped."""
        try:
            told = {
                "at": record.created,
                "level": record.levelname.lower(),
                "event": redact(record.getMessage()),
                "fields": fields_of(record),
            }
        except Exception:  # noqa: BLE001 - the log has the record too
            return
        self._kept.append(told)

    def entries(self) -> list[Json]:
        """The kept records, the newest first."""
        return list(self._kept)[::-1]


def take(
    metrics: Metrics,
    *,
    started: float,
    draining: Json | None,
    checks: Sequence[Check],
    sources: Sequence[Source],
    pollers: Sequence[Poller],
    slots: Slots,
    journal: Journal,
    consumer: Consumer,
    dead_letters: Depth,
    connections: Sequence[Connection],
    unparked: int,
    unroutable: Mapping[str, Unroutable],
    swf_now: float | None,
    last_errors: LastErrors,
    last_hour: LastHour,
) -> Json:
    """Take the snapshot. It calls neither SWF nor RabbitMQ, and reads the journal briefly."""
    now = time.time()
    counts = _Counts(metrics)
    standing = journal.standing()
    codes = {code: times for code, times in counts.by_label(m.DEAD_LETTERS).items() if times}
    return {
        "version": __version__,
        "revision": __revision__,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "instance": journal.instance,
        "now": now,
        "startedAt": started,
        "state": "running" if draining is None else "stopping",
        "draining": draining,
        "checks": {check.name: row(check, redact(check.detail)) for check in checks},
        "broker": [_connection(each) for each in connections],
        "journal": {
            "path": str(journal.path),
            "writable": journal.writable.is_set(),
            "size": journal.size(),
            "tasks": sum(each.tasks for each in standing.values()),
            "owed": sum(each.owed for each in standing.values()),
        },
        "lists": [
            {
                **each,
                "timeLeft": _time_left(each, standing, swf_now),
                "lastHour": last_hour.told((each["domain"], each["taskList"])),
            }
            for each in (
                *(_list(each, pollers, slots, standing, counts) for each in sources),
                *_left_over(sources, standing),
            )
        ],
        "unroutable": [
            _unroutable(key, each, now) for key, each in list(unroutable.items())[:UNROUTABLE_SHOWN]
        ],
        "replies": {"held": len(consumer.held), "outcomes": counts.by_label(m.REPLIES)},
        "deadLetters": {
            "queue": dead_letters.queue,
            "standing": dead_letters.ready,
            "asOf": dead_letters.at,
            "sinceStart": sum(codes.values()),
            "codes": codes,
            "waiting": unparked,
        },
        "lastErrors": last_errors.entries(),
    }


class _Counts:
    """The counters, all read at one time."""

    def __init__(self, metrics: Metrics) -> None:
        wanted = {m.DEAD_LETTERS, m.REPLIES, m.TASKS_POLLED, m.POLLS}
        self._samples: dict[Metric, dict[Labels, Any]] = {
            family.metric: dict(family.samples)
            for family in metrics.collect()
            if family.metric in wanted
        }

    def by_label(self, metric: Metric) -> dict[str, int]:
        """The values of a counter by its only label."""
        return {labels[0]: int(value) for labels, value in self._samples[metric].items()}

    def of(self, metric: Metric, *labels: str) -> int:
        """The sum of all series whose first labels are ``labels``."""
        found = self._samples[metric].items()
        return int(sum(value for each, value in found if each[: len(labels)] == labels))


def _unroutable(key: str, of: Unroutable, now: float) -> Json:
    left = None if of.fails_at is None else round(max(0.0, of.fails_at - now), 1)
    return {
        "key": key,
        "seconds": round(of.seconds, 1),
        "reason": redact(of.why),
        "tasks": of.tasks,
        "failsIn": left,
    }


def _connection(connection: Connection) -> Json:
    outage = connection.outage
    return {
        "name": connection.name,
        "connected": connection.ready.is_set(),
        "blocked": connection.blocked,
        "reconnects": connection.reconnects,
        "error": redact(outage.error),
        "awayFor": round(outage.seconds, 1),
    }


def _list(
    source: Source,
    pollers: Sequence[Poller],
    slots: Slots,
    standing: Mapping[TaskListId, Standing],
    counts: _Counts,
) -> Json:
    task_list_id = source.task_list_id
    states = Counter(redact(each.text) for each in pollers if each.task_list_id == task_list_id)
    return {
        **_stands(task_list_id, standing.get(task_list_id, _NOTHING)),
        "pollers": states.total(),
        "pollerStates": dict(states.most_common()),
        "inFlight": slots.in_flight(task_list_id),
        "slots": slots.limit(task_list_id),
        "lastPoll": source.last_poll or None,
        **_obstacle(source, states),
        "demand": _demand(source.demand),
        "paused": _pause(source.pause),
        "polls": counts.of(m.POLLS, *task_list_id),
        "polled": counts.of(m.TASKS_POLLED, *task_list_id),
    }


def _time_left(
    row: Json, standing: Mapping[TaskListId, Standing], swf_now: float | None
) -> float | None:
    """Seconds until the first known deadline of the list's tasks; None where none is known."""
    due = standing.get((row["domain"], row["taskList"]), _NOTHING).next_deadline
    return None if due is None or swf_now is None else round(due - swf_now, 1)


def _pause(pause: Pause | None) -> Json | None:
    if pause is None:
        return None
    told = pauses.row(pause)
    return {**told, "reason": redact(pause.reason), "text": redact(pause.text)}


def _obstacle(source: Source, states: Counter[str]) -> Json:
    """Why no new poll begins; an empty reason where a poller polls and nothing hinders the others.

    Polls that were open when the obstacle arose may go on for a minute.
    """
    if obstacle := source.obstacle():
        return {"notPolled": redact(obstacle.text), "obstacle": obstacle.state.value}
    if states["polling"]:
        return {"notPolled": "", "obstacle": None}
    known = source.refused.error or source.failing.error
    return {"notPolled": redact(known or next(iter(states), "no pollers")), "obstacle": None}


def _demand(demand: Demand | None) -> Json | None:
    """The queue that the list follows, and whether it wants tasks."""
    if demand is None:
        return None
    return {"queue": demand.queue, "state": str(demand.state)}


def _stands(task_list_id: TaskListId, standing: Standing) -> Json:
    return {
        "domain": task_list_id[0],
        "taskList": task_list_id[1],
        "tasks": standing.tasks,
        "owed": standing.owed,
        "oldest": standing.oldest or None,
    }


def _left_over(sources: Sequence[Source], standing: Mapping[TaskListId, Standing]) -> list[Json]:
    """The rows of lists that are not among the settings but still have tasks in hand."""
    polled = {source.task_list_id for source in sources}
    return [
        {
            **_stands(task_list_id, each),
            "pollers": 0,
            "pollerStates": {},
            "inFlight": each.tasks,
            "slots": 0,
            "lastPoll": None,
            "notPolled": "not among the task lists any more",
            "obstacle": None,
            "demand": None,
            "paused": None,
            "polls": 0,
            "polled": 0,
        }
        for task_list_id, each in standing.items()
        if task_list_id not in polled
    ]

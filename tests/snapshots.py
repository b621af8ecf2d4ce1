"""A snapshot (`bridge/status/snapshot.py`) as plain data, for what shows one."""

from typing import Any

from bridge.flow.obstacle import PollerState
from bridge.rabbitmq.demand import DemandState

NOW = 1_700_000_000.0


def check(name: str, state: str = "away", detail: str = "connection refused") -> dict[str, Any]:
    """A check by its name and state, to be one of a snapshot's ``checks``."""
    kind, _, subject = name.partition(" ")
    told = {"ok": state == "ok", "detail": detail, "kind": kind, "state": state, "subject": subject}
    return {name: told}


def row(**more: Any) -> dict[str, Any]:
    """A task list that is polled."""
    return {
        "domain": "dev",
        "taskList": "images",
        "tasks": 3,
        "owed": 0,
        "oldest": NOW - 61,
        "timeLeft": None,
        "pollers": 2,
        "pollerStates": {"polling": 2},
        "inFlight": 3,
        "slots": 100,
        "lastPoll": NOW - 5,
        "notPolled": "",
        "obstacle": None,
        "demand": None,
        "paused": None,
        "polls": 40,
        "polled": 36,
        "lastHour": {
            "polled": [*[2, 3, 0, 5] * 14, 9, 9, 1, 4],
            "settled": [*[1, 3, 1, 4] * 14, 0, 0, 8, 5],
            "oldest": [*[0.0, 30.0, 61.5, 12.0] * 14, 130.0, 190.0, 250.0, 61.0],
        },
        **more,
    }


def no_demand(state: DemandState, why: str = "queue work has no consumer") -> dict[str, Any]:
    """What a row has of a list that is not polled for its queue."""
    demand = {"queue": "work", "state": state.value}
    return {"notPolled": why, "obstacle": PollerState.NO_DEMAND.value, "demand": demand}


def paused(**more: Any) -> dict[str, Any]:
    """A pause as a row of a list has it."""
    return {
        "since": NOW - 60,
        "until": None,
        "left": None,
        "uid": 0,
        "reason": "moving",
        "text": "paused by uid 0: moving",
        **more,
    }


def dead_letters(standing: int | None = 0, **codes: int) -> dict[str, Any]:
    """How many stand in the queue, and the codes of those put there since the start."""
    named = {code.replace("_", "-"): count for code, count in codes.items()}
    return {
        "queue": "swf.replies.dead",
        "standing": standing,
        "asOf": None if standing is None else NOW - 3,
        "sinceStart": sum(codes.values()),
        "codes": named,
    }


def snapshot(**more: Any) -> dict[str, Any]:
    """A daemon that does well for an hour."""
    link = {"connected": True, "blocked": False, "reconnects": 0, "error": "", "awayFor": 0.0}
    return {
        "version": "1.0",
        "host": "worker-7",
        "pid": 4711,
        "instance": "0123456789ab",
        "now": NOW,
        "startedAt": NOW - 3600,
        "state": "running",
        "checks": check("threads", "ok", "moving"),
        "broker": [{"name": name, **link} for name in ("publisher", "consumer")],
        "journal": {
            "path": "/var/lib/swf-bridge/journal.db",
            "writable": True,
            "size": 81_920,
            "tasks": 3,
            "owed": 0,
        },
        "lists": [row()],
        "unroutable": [],
        "replies": {"held": 0, "outcomes": {"completed": 33}},
        "deadLetters": dead_letters(),
        "lastErrors": [],
        **more,
    }

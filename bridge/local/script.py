"""Scripted events of a task while a worker has it: cancellation, time-out, termination.

In the service these come at any time; a worker author needs them at a known time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ACTIONS = {"cancelAfter": "cancel", "timeOutAfter": "time-out", "terminateAfter": "terminate"}
"""The action by the member of a submitted task."""

_BEATS = "beats:"


@dataclass(frozen=True)
class Step:
    """An action, and its time: `seconds` after the task was started, or a heartbeat."""

    action: str
    seconds: float | None = None
    beats: int | None = None
    """The number of the heartbeat, from 1; the action comes before its answer."""


def steps(task: Mapping[str, Any]) -> tuple[Step, ...]:
    """The script of a submitted task. Raises ValueError that names a wrong member."""
    return tuple(
        _step(member, action, task[member])
        for member, action in ACTIONS.items()
        if task.get(member) is not None
    )


def _step(member: str, action: str, when: Any) -> Step:
    if isinstance(when, str) and when.startswith(_BEATS):
        number = when.removeprefix(_BEATS)
        if number.isascii() and number.isdigit() and int(number):
            return Step(action, beats=int(number))
    else:
        try:
            seconds = float(when)
        except (TypeError, ValueError):
            seconds = -1.0
        if 0 <= seconds < 1e8:
            return Step(action, seconds=seconds)
    raise ValueError(f"{member} wants seconds, or {_BEATS}N")

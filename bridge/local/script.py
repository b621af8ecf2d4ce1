"""What shall befall a task while a worker has it: a cancellation, a time-out, the workflow's end.

A real decider does these at any time; a worker author wants them at a known one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ACTIONS = {"cancelAfter": "cancel", "timeOutAfter": "time-out", "terminateAfter": "terminate"}
"""By the member of a submitted task."""

_BEATS = "beats:"


@dataclass(frozen=True)
class Step:
    """One action, and when: so long after a worker was given the task, or with a heartbeat."""

    action: str
    seconds: float | None = None
    beats: int | None = None
    """With this heartbeat, the first being 1, before it is answered."""


def steps(task: Mapping[str, Any]) -> tuple[Step, ...]:
    """The script of a submitted task. Raises ValueError with the member that cannot be."""
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

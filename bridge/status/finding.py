"""A finding: one thing that is wrong or wants a look, and the words that findings share. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

NAMED = 2
"""So many lists or keys are named in a title; then there are so many more."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or that wants a look where it is not ``grave``."""

    grave: bool
    title: str
    detail: str
    tasks: str
    """What it means for the tasks."""
    todo: str
    """What to do; commands stand between backticks."""
    alert: str = ""


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """``a``, ``a and b``, or ``a, b and 3 more``."""
    rest = len(names) - most
    shown = [*names[:most], f"{rest} more"] if rest > 0 else list(names)
    *but_last, last = shown
    return f"{', '.join(but_last)} and {last}" if but_last else last


def counted(count: int, one: str, more: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count} {one if count == 1 else more}"

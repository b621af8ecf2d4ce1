"""A finding: a problem of the daemon or a warning, and helpers for its wording. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

NAMED = 2
"""Lists or keys that a title names before it says ``3 more``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem where it is ``grave``, else a warning."""

    grave: bool
    title: str
    detail: str
    tasks: str
    """The effect on tasks."""
    todo: str
    """The advice to the operator; commands are in backticks."""
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

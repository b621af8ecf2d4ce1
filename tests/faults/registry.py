"""Every fault by name, and which may befall the bench together."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bench import Bench

Fault = Callable[["Bench"], AbstractContextManager[None]]
Body = Callable[["Bench"], Iterator[None]]

BROKER, SWF, DAEMON, JOURNAL, REPLIES = "broker", "swf", "daemon", "journal", "replies"
FAULTS: dict[str, dict[str, Fault]] = {}
"""By kind. Faults of two kinds may be mixed; of one kind, one at a time."""


def fault(kind: str) -> Callable[[Body], Fault]:
    """Register a generator: before its `yield` it strikes, after it it heals."""

    def register(body: Body) -> Fault:
        made = contextmanager(body)
        FAULTS.setdefault(kind, {})[body.__name__] = made
        return made

    return register


def every() -> dict[str, Fault]:
    """All faults, of every kind."""
    return {name: each for kind in FAULTS.values() for name, each in kind.items()}

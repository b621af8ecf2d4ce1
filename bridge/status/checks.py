"""The checks of the daemon as data: a kind, a state, and a text for people. Pure.

Page, ``swf-bridge status`` and findings go by kind and state. No code reads the text.
"""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a check looks at."""

    THREADS = "threads"
    DAEMON = "daemon"
    """Whether it runs, or drains and will stop."""
    BROKER = "broker"
    """One connection to RabbitMQ."""
    LACKING = "lacking"
    """Something in RabbitMQ without which tasks and replies go on."""
    JOURNAL = "journal"
    ANSWERS = "answers"
    """Whether SWF takes replies."""
    DEAD_LETTERS = "dead-letters"
    """Whether the dead-letter queue takes what is parked."""
    POLLS = "polls"
    """The polls of one task list."""


class State(StrEnum):
    """How a check stands."""

    OK = "ok"
    STUCK = "stuck"
    AWAY = "away"
    BLOCKED = "blocked"
    NOT_WRITABLE = "not writable"
    REFUSED = "refused"
    """A person has to mend something."""
    FAILING = "failing"
    """It may heal by itself."""
    DRAINING = "draining"


class Check(NamedTuple):
    """One check. ``subject`` is the connection, task list or thing that it is about."""

    kind: Kind
    state: State
    detail: str
    subject: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return self.state is State.OK

    @property
    def name(self) -> str:
        """The kind with its subject: unique among the checks of a daemon."""
        return f"{self.kind} {self.subject}" if self.subject else str(self.kind)


def row(check: Check, detail: str) -> dict[str, object]:
    """A check as ``/readyz`` and snapshots give it, with its text redacted by the caller."""
    return {
        "ok": check.ok,
        "detail": detail,
        "kind": str(check.kind),
        "state": str(check.state),
        "subject": check.subject,
    }

"""Health checks of the daemon as data: a kind, a state, and a text for people. Pure.

The page, ``swf-bridge status`` and findings decide by kind and state. No code parses the text.
"""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """The subject of a check."""

    THREADS = "threads"
    DAEMON = "daemon"
    """Whether it runs normally or is draining."""
    BROKER = "broker"
    """One connection to RabbitMQ."""
    LACKING = "lacking"
    """A missing item in RabbitMQ that forwarding and replies do not need."""
    JOURNAL = "journal"
    ANSWERS = "answers"
    """Whether SWF accepts replies."""
    DEAD_LETTERS = "dead-letters"
    """Whether the dead-letter queue accepts messages."""
    POLLS = "polls"
    """The polls of one task list."""


class State(StrEnum):
    """The result of a check."""

    OK = "ok"
    STUCK = "stuck"
    AWAY = "away"
    BLOCKED = "blocked"
    NOT_WRITABLE = "not writable"
    REFUSED = "refused"
    """A person must fix something."""
    NO_ROOM = "no room"
    """A limit of RabbitMQ on connections or channels is reached."""
    FAILING = "failing"
    """It may recover by itself."""
    DRAINING = "draining"


class Check(NamedTuple):
    """One check. ``subject`` names the connection, task list or item, where a kind has several."""

    kind: Kind
    state: State
    detail: str
    subject: str = ""

    @property
    def ok(self) -> bool:
        """Whether the check passed."""
        return self.state is State.OK

    @property
    def name(self) -> str:
        """Kind and subject: unique among the checks of a daemon."""
        return f"{self.kind} {self.subject}" if self.subject else str(self.kind)


def row(check: Check, detail: str) -> dict[str, object]:
    """A check as JSON for ``/readyz`` and snapshots. The caller has redacted ``detail``."""
    return {
        "ok": check.ok,
        "detail": detail,
        "kind": str(check.kind),
        "state": str(check.state),
        "subject": check.subject,
    }

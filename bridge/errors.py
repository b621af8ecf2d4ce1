"""What can go wrong, each named by what the one who catches it does."""

from collections.abc import Sequence


class ConfigError(Exception):
    """Settings that cannot work: print each problem on a line of its own and exit 78."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class PartFailed(Exception):
    """A part of the daemon cannot go on: stop the others and exit 70."""


class Unavailable(Exception):
    """A peer cannot do it now (away, throttled, failing, no credentials): try again later."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Refused(Unavailable):
    """A peer will not do it until a person mends something: try again seldom, and say what."""


class TaskClosed(Exception):
    """SWF no longer knows the task as open: there is nothing left to answer."""


class BadReply(Exception):
    """A reply that can never be accepted: it goes to the dead-letter queue under ``code``."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Rejected(BadReply):
    """A bad reply whose task is known: the task is failed with ``reason`` before it is parked."""

    def __init__(self, code: str, detail: str, *, token: str, reason: str) -> None:
        super().__init__(code, detail)
        self.token = token
        self.reason = reason


class Declined(Exception):
    """What an operator asks for cannot be done: tell them so, and do nothing.

    ``code`` is ``usage`` where the command is wrong, ``not-found``, ``busy`` or ``stopping``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

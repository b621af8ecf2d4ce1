"""The exceptions of the bridge, one for each way in which a caller must react."""

from collections.abc import Sequence


class ConfigError(Exception):
    """Settings that cannot work: print each problem on a line of its own and exit 78."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class PartFailed(Exception):
    """A part of the daemon cannot go on: stop the others and exit 70."""


class Unavailable(Exception):
    """A request to a peer failed for now (away, throttled, no credentials): retry later."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Refused(Unavailable):
    """A peer refuses a request until an operator fixes something: retry seldom, log the cause."""


class TaskClosed(Exception):
    """The task is closed in SWF, or unknown to it: SWF accepts no reply to it."""


class BadReply(Exception):
    """A reply that can never be accepted: it goes to the dead-letter queue under ``code``."""

    def __init__(self, code: str, detail: str, *, token: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.token = token
        """The token in the reply; empty if there is none, or if the reply was not decoded."""


class Rejected(BadReply):
    """A bad reply whose task is known: fail the task with ``reason``, then dead-letter it."""

    def __init__(self, code: str, detail: str, *, token: str, reason: str) -> None:
        super().__init__(code, detail, token=token)
        self.reason = reason


class Declined(Exception):
    """An operator's command cannot be carried out: report that, and change nothing.

    ``code`` is ``usage`` (the command is wrong), ``not-found``, ``busy`` or ``stopping``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

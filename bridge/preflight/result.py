"""The result of a check before the daemon runs: its mark, the exit code it causes, its text."""

from enum import Enum
from typing import NamedTuple


class Mark(Enum):
    """The verdict of one check: the sign that is shown, and the exit code that it causes."""

    HOLDS = ("✓", 0)
    NOTE = ("!", 0)
    UNPROVEN = ("?", 0)
    WRONG = ("✗", 78)
    UNAVAILABLE = ("✗", 69)

    @property
    def sign(self) -> str:
        """The character that begins the line."""
        return self.value[0]

    @property
    def exit_code(self) -> int:
        """The exit code of contract §6."""
        return self.value[1]


class Result(NamedTuple):
    """One line of the report."""

    mark: Mark
    text: str

"""Time, as an asyncio event loop has it, and as a test can hold it."""

from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """A call that was arranged for later."""

    def cancel(self) -> None:
        """Call it off."""


class Clock(Protocol):
    """The part of an asyncio event loop that tells and awaits time."""

    def time(self) -> float:
        """Seconds on a clock that only goes forward."""

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Call `callback(*args)` in `delay` seconds."""

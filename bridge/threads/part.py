"""The interface of a part: it runs on a thread of its own, and the watchdog sees if it is stuck."""

from typing import Protocol


class Part(Protocol):
    """A component that the daemon runs on a thread of its own."""

    name: str
    moved: float
    """Monotonic seconds of the last sign of progress."""
    patience: float
    """Seconds without progress after which the part counts as stuck."""

    def run(self) -> None:
        """Block until asked to stop."""

    def stop(self) -> None:
        """Ask the part to stop. Never blocks; may be called twice."""

"""What the daemon runs: each part on a thread of its own, watched for whether it moves."""

from typing import Protocol


class Part(Protocol):
    """What the daemon runs, each on a thread of its own."""

    name: str
    moved: float
    """Monotonic seconds when it last said that it moves."""
    patience: float
    """Seconds without a move after which it counts as stuck."""

    def run(self) -> None:
        """Block until asked to stop."""

    def stop(self) -> None:
        """Ask it to stop; never blocks, and may be called twice."""

"""Detects a silent RabbitMQ: a frozen node keeps its connections open."""

SILENCE = 10
"""Ticks (one a second) without a byte from RabbitMQ after which the connection is given up; its
heartbeats come every four seconds. Ticks, because a paused process loses seconds but no ticks."""


class Silence:
    """Counts the ticks without a byte in one life of a connection; ``most`` are borne."""

    def __init__(self) -> None:
        self.most = SILENCE
        self.restart()

    def restart(self) -> None:
        """Begin with a new connection."""
        self._received = 0
        self._ticks = 0

    def tick(self, received: int) -> TimeoutError | None:
        """Count a tick, given the total bytes received; the error once RabbitMQ is too silent."""
        self._ticks = self._ticks + 1 if received == self._received else 0
        self._received = received
        if self._ticks <= self.most:
            return None
        return TimeoutError(f"RabbitMQ has been silent for {self.most} seconds")

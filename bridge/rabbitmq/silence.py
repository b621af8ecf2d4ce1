"""Whether RabbitMQ still speaks: a node that is frozen keeps its connections open."""

SILENCE = 10
"""Ticks without a byte of RabbitMQ after which the connection is made anew, at another node. Its
heartbeats come every four seconds. Seconds would not do: they pass for a process that is paused,
too.
"""


class Silence:
    """Ticks without a byte, in one life of a connection."""

    def __init__(self) -> None:
        self._received = 0
        self._ticks = 0

    def tick(self, received: int) -> TimeoutError | None:
        """Why the connection is to be given up, if it is, with so many bytes received by now."""
        self._ticks = self._ticks + 1 if received == self._received else 0
        self._received = received
        if self._ticks <= SILENCE:
            return None
        return TimeoutError(f"RabbitMQ has been silent for {SILENCE} seconds")

"""The demand for tasks in a worker queue: a list that follows it is polled only while it lasts."""

import logging
import threading
from enum import StrEnum

log = logging.getLogger(__name__)


class DemandState(StrEnum):
    """Whether workers want tasks in a queue, or why not."""

    UNSEEN = "unseen"
    """The queue has not been looked at yet."""
    WANTED = "wanted"
    NO_CONSUMER = "no consumer"
    ENOUGH = "enough"
    """The queue holds enough ready messages."""
    REFUSED = "refused"
    """The queue does not exist, or we may not look at it."""
    SILENT = "silent"
    """RabbitMQ does not answer for this queue."""
    AWAY = "away"
    """RabbitMQ cannot be reached."""


class Demand:
    """The demand for tasks in one queue: consumers, and fewer than ``enough`` ready messages."""

    def __init__(self, queue: str, enough: int) -> None:
        self.queue = queue
        self.enough = enough
        self.state = DemandState.UNSEEN
        self.why = f"queue {queue} is not seen yet"
        """Why the task list is not polled, as a sentence for operators; empty while it is."""
        self._wanted = threading.Event()

    def __repr__(self) -> str:
        return f"<Demand of {self.queue}: {self.state}>"

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for demand; return whether there is any."""
        return self._wanted.wait(timeout)

    def set(self, state: DemandState, why: str = "") -> None:
        """Store the state, and log a change; ``why`` says why no tasks are wanted."""
        wanted = state is DemandState.WANTED
        if wanted != self._wanted.is_set() or self.state is DemandState.UNSEEN:
            event = "demand.seen" if wanted else "demand.none"
            log.info(event, extra={"queue": self.queue, "reason": why})
        self.state, self.why = state, why
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    def count(self, consumers: int, ready: int) -> None:
        """Set the state from the queue's number of consumers and of ready messages."""
        if not consumers:
            self.set(DemandState.NO_CONSUMER, f"queue {self.queue} has no consumer")
        elif ready >= self.enough:
            self.set(DemandState.ENOUGH, f"queue {self.queue} holds {ready} messages already")
        else:
            self.set(DemandState.WANTED)

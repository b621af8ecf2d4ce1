"""Whether workers want the tasks of a queue that a task list follows."""

import logging
import threading
from enum import StrEnum

log = logging.getLogger(__name__)


class DemandState(StrEnum):
    """Whether workers want the tasks of a queue, and why not; texts for people stand beside it."""

    UNSEEN = "unseen"
    """The queue has not been looked at yet."""
    WANTED = "wanted"
    NO_CONSUMER = "no consumer"
    ENOUGH = "enough"
    """It holds enough messages already."""
    REFUSED = "refused"
    """RabbitMQ does not let us look: the queue does not exist, or we are not permitted."""
    SILENT = "silent"
    """RabbitMQ does not answer about this queue."""
    AWAY = "away"
    """RabbitMQ is."""


class Demand:
    """The demand for the tasks of one queue, in which ``enough`` ready messages are enough."""

    def __init__(self, queue: str, enough: int) -> None:
        self.queue = queue
        self.enough = enough
        self.state = DemandState.UNSEEN
        self.why = f"queue {queue} is not seen yet"
        """Why its task list is not polled, in a sentence for an operator; empty while it is."""
        self._wanted = threading.Event()

    def __repr__(self) -> str:
        return f"<Demand of {self.queue}: {self.state}>"

    def wait(self, timeout: float) -> bool:
        """Whether tasks are wanted, after waiting so many seconds for it."""
        return self._wanted.wait(timeout)

    def set(self, state: DemandState, why: str = "") -> None:
        """Note how it stands, and unless tasks are wanted why not."""
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
        """Note how many consumers the queue has, and how many messages wait for them."""
        if not consumers:
            self.set(DemandState.NO_CONSUMER, f"queue {self.queue} has no consumer")
        elif ready >= self.enough:
            self.set(DemandState.ENOUGH, f"queue {self.queue} holds {ready} messages already")
        else:
            self.set(DemandState.WANTED)

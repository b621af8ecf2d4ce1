"""When replies are answered: one of a task at a time, with room kept for those of tasks in hand."""

import threading
from collections import deque
from typing import NamedTuple

from bridge.errors import Rejected
from bridge.rabbitmq.consuming.delivery import Delivery
from bridge.task import Reply


class Turn(NamedTuple):
    """A reply that closes its task, or for which the bridge must fail it (``rejected``)."""

    delivery: Delivery
    reply: Reply
    rejected: Rejected | None = None


class Turns:
    """Serializes the replies of each task, in the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Turn]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, turn: Turn) -> bool:
        """Whether it is the reply's turn; if not, queue it behind the others of its task."""
        with self._lock:
            if (waiting := self._waiting.get(turn.reply.task)) is None:
                self._waiting[turn.reply.task] = deque()
                return True
            waiting.append(turn)
            return False

    def end(self, turn: Turn) -> Turn | None:
        """End the reply's turn; return the next one of the same task, if any."""
        with self._lock:
            if waiting := self._waiting[turn.reply.task]:
                return waiting.popleft()
            del self._waiting[turn.reply.task]
            return None


class Strangers:
    """Bounds how many replies of tasks that this instance does not hold are answered at a time.

    They are of tasks of other instances, of tasks that are closed, or of tokens that SWF never
    gave. However many come, the replies of tasks in hand find room beside them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._open = 0
        self._waiting: deque[Turn] = deque()
        self._lives: dict[str, int] = {}
        """The channel of the last reply that had to wait, by queue."""

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, turn: Turn) -> bool:
        """Whether there is room for the reply; if not, queue it.

        The first that must wait after a loss of its channel takes the place of those that waited
        before: RabbitMQ delivers them again.
        """
        queue, life = turn.delivery.queue, turn.delivery.life
        with self._lock:
            if self._open >= self._most:
                if self._lives.get(queue, life) != life:
                    stay = [each for each in self._waiting if each.delivery.queue != queue]
                    self._waiting = deque(stay)
                self._lives[queue] = life
                self._waiting.append(turn)
                return False
            self._open += 1
            return True

    def leave(self) -> Turn | None:
        """End one reply; return the next, which takes its room, if any waits."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._open -= 1
            return None

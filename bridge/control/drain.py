"""The drain: the reasons to stop the daemon, the drain's progress, and the command ``drain``."""

import math
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from bridge.control.request import Json, Output, Request
from bridge.errors import Declined
from bridge.journal.slots import Slots
from bridge.rabbitmq.consuming.consumer import Consumer
from bridge.rabbitmq.publisher import Publisher

TICK = 1.0
"""Seconds between two reports of progress."""
_LEFT = (
    ("open poll", "open polls"),
    ("task to publish", "tasks to publish"),
    ("answer to give", "answers to give"),
)
TOLD_TIMEOUT = 1.0
"""Seconds, at most, for which the process stays until each ``drain`` command has its result."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal from the service manager or a person asks the daemon to stop."""

    number: int

    def __str__(self) -> str:
        return signal.Signals(self.number).name


@dataclass(frozen=True, slots=True)
class Ended:
    """A part of the daemon has ended; ``error`` is what it raised, if anything."""

    part: str
    error: BaseException | None = None

    def __str__(self) -> str:
        return f"the part {self.part} ended"


@dataclass(frozen=True, slots=True)
class Asked:
    """The command ``swf-bridge drain``, run by user ``uid``, asks the daemon to stop."""

    uid: int

    def __str__(self) -> str:
        return f"asked by uid {self.uid}"


class Drain:
    """The stop of the daemon. Its main thread waits on ``reasons`` and drains at the first one.

    The daemon calls ``begin`` and ``end``. Any thread may ask for the progress in between.
    """

    def __init__(
        self, seconds: float, slots: Slots, publisher: Publisher, consumers: Sequence[Consumer]
    ) -> None:
        self.reasons: SimpleQueue[Signal | Ended | Asked] = SimpleQueue()
        self.begun = threading.Event()
        self.seconds = seconds
        """Seconds after ``begin`` in which open polls may end and their tasks be published."""
        self._slots = slots
        self._publisher = publisher
        self._consumers = consumers
        self._deadline = 0.0
        self._changed = threading.Condition()
        self._waiting = 0
        self._result: Json | None = None

    def __repr__(self) -> str:
        return f"<Drain {self.text if self.begun.is_set() else 'not begun'}>"

    def begin(self) -> None:
        """Start the clock of the drain; the daemon then stops new polls."""
        self._deadline = time.monotonic() + self.seconds
        self.begun.set()

    def state(self) -> Json | None:
        """The progress: seconds left and open work; None before ``begin``."""
        if not self.begun.is_set():
            return None
        polls, tasks, answers = self._left
        return {"left": self._seconds, "polls": polls, "tasks": tasks, "answers": answers}

    @property
    def text(self) -> str:
        """The progress in words."""
        told = [
            f"{count} {one if count == 1 else more}"
            for count, (one, more) in zip(self._left, _LEFT, strict=True)
            if count
        ]
        if not self._left[0]:
            return f"{', '.join(told)} left" if told else "disconnecting"
        return f"{', '.join(told)} left; {math.ceil(self._seconds)} s more at most"

    @property
    def _left(self) -> tuple[int, int, int]:
        """Numbers of open polls, of tasks without a confirm, and of unsettled replies."""
        polls = sum(map(self._slots.polls, self._slots.task_list_ids))
        answers = sum(max(0, each.unsettled) for each in self._consumers)
        return polls, self._publisher.outstanding, answers

    @property
    def _seconds(self) -> float:
        return round(max(0.0, self._deadline - time.monotonic()), 1)

    def end(self, result: Json) -> None:
        """Give ``result`` to every waiting ``drain`` command; blocks for at most TOLD_TIMEOUT."""
        with self._changed:
            self._result = result
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting, TOLD_TIMEOUT)

    def ask(self, request: Request) -> Output:
        """The command ``drain``: stop the daemon, and yield progress until the drain is over.

        Its field ``seconds`` limits the wait; then it raises Declined. After the result it never
        returns: the client sees the end of the stream when the process has ended.
        """
        span = request.seconds("seconds")
        deadline = math.inf if span is None else time.monotonic() + span
        if not self.begun.is_set():
            self.reasons.put(Asked(request.uid))
        with self._changed:
            self._waiting += 1
        try:
            while (result := self._wait(min(TICK, deadline - time.monotonic()))) is None:
                if time.monotonic() >= deadline:
                    raise Declined("timeout", f"it drains on: {self.text}")
                yield {"progress": {"text": self.text}}
            yield {"result": result}
        finally:
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()
        threading.Event().wait()

    def _wait(self, seconds: float) -> Json | None:
        with self._changed:
            self._changed.wait_for(lambda: self._result is not None, seconds)
            return self._result

"""The filter of the ``tasks`` commands: which tasks of the journal their options select."""

import math
import time
from dataclasses import dataclass

from bridge.control.request import Request
from bridge.errors import Declined
from bridge.journal.entry import Entry


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Selects tasks; a field that is empty or None restricts nothing."""

    task_list: str = ""
    """``domain/list``, or a list's name, which matches in every domain."""
    domain: str = ""
    name: str = ""
    version: str = ""
    state: str = ""
    polled_before: float | None = None

    @classmethod
    def of(cls, request: Request) -> "TaskFilter":
        """Read the filter from a request. Raises Declined.

        Its ``newest`` is that of an earlier dry run: whatever SWF gave after it is not selected.
        """
        state = request.text("state")
        if state not in ("", "waiting", "published"):
            raise Declined("usage", "state is waiting or published")
        name, _, version = request.text("type").partition("@")
        newest, age = request.seconds("newest"), request.seconds("older_than")
        if age is not None:
            newest = min(time.time() - age, math.inf if newest is None else newest)
        return cls(
            task_list=request.text("list"),
            domain=request.text("domain"),
            name=name,
            version=version,
            state=state,
            polled_before=newest,
        )

    def __call__(self, entry: Entry) -> bool:
        """Whether the filter selects the task."""
        task = entry.task
        return (
            self.task_list in ("", task.task_list, f"{task.domain}/{task.task_list}")
            and self.domain in ("", task.domain)
            and self.name in ("", task.name)
            and self.version in ("", task.version)
            and self.state in ("", state_of(entry))
            and (self.polled_before is None or task.polled_at <= self.polled_before)
        )


def state_of(entry: Entry) -> str:
    """``published`` once RabbitMQ has confirmed the task, ``waiting`` before."""
    return "published" if entry.published else "waiting"

"""The commands ``pause`` and ``resume``, on the daemon's side."""

import time
from collections.abc import Callable, Iterable, Sequence

from bridge.control.request import Json, Output, Request
from bridge.errors import Declined
from bridge.journal.journal import Journal
from bridge.journal.pauses import Pause, Pauses
from bridge.journal.slots import Slots
from bridge.task import TaskListId, cut

LONGEST = 1e9
"""The longest pause in seconds, about 31 years."""
NAME_SHOWN = 100


class PauseCommands:
    """Pauses the polls of task lists; ``halted`` tells whether the daemon is stopping."""

    def __init__(
        self, pauses: Pauses, slots: Slots, journal: Journal, *, halted: Callable[[], bool]
    ) -> None:
        self._pauses = pauses
        self._slots = slots
        self._journal = journal
        self._halted = halted
        self.commands = {"pause": self.pause, "resume": self.resume}

    def pause(self, request: Request) -> Output:
        """Stop new polls of the lists; a list that is already paused keeps its pause."""
        self._go_on()
        task_list_ids = self._meant(request, self._slots.task_list_ids)
        span = request.seconds("seconds")
        if span is not None and not 0 < span <= LONGEST:
            raise Declined("usage", f"seconds must be more than 0, and {LONGEST:.0f} at most")
        before = [each for task_list_id in task_list_ids if (each := self._pauses.of(task_list_id))]
        made = self._pauses.pause(
            task_list_ids, seconds=span, uid=request.uid, reason=request.text("reason")
        )
        yield {"result": self._result(made, [_name(each.task_list_id) for each in before])}

    def resume(self, request: Request) -> Output:
        """Let the lists be polled again, including paused lists that left the settings."""
        self._go_on()
        paused = [each.task_list_id for each in self._pauses.all()]
        known = list(dict.fromkeys([*self._slots.task_list_ids, *paused]))
        task_list_ids = paused if request.flag("all") else self._meant(request, known)
        if not task_list_ids:
            raise Declined("not-found", "no task list is paused")
        ended = self._pauses.resume(task_list_ids, uid=request.uid)
        resumed = {each.task_list_id for each in ended}
        yield {"result": self._result(ended, [_name(e) for e in task_list_ids if e not in resumed])}

    def _result(self, changed: Iterable[Pause], unchanged: Sequence[str]) -> Json:
        lists = [
            {**row(each), "openPolls": self._slots.polls(each.task_list_id)} for each in changed
        ]
        kept = self._journal.writable.is_set()
        return {"lists": lists, "unchanged": unchanged, "kept": kept}

    def _meant(self, request: Request, known: Sequence[TaskListId]) -> list[TaskListId]:
        """The lists that the request names. Raises Declined for no names or an unknown name."""
        if request.flag("all"):
            return list(known)
        names = request.texts("lists")
        if not names:
            raise Declined("usage", "name task lists, or say all")
        return list(dict.fromkeys(_named(each, known) for each in names))

    def _go_on(self) -> None:
        if self._halted():
            raise Declined("stopping", "the daemon is stopping; nothing was changed")


def row(pause: Pause) -> Json:
    """A pause as JSON; ``left`` is in seconds."""
    left = None if pause.until is None else max(0.0, round(pause.due - time.monotonic(), 1))
    return {
        "domain": pause.task_list_id[0],
        "taskList": pause.task_list_id[1],
        "since": pause.since,
        "until": pause.until,
        "left": left,
        "uid": pause.uid,
        "reason": pause.reason,
    }


def _named(name: str, known: Sequence[TaskListId]) -> TaskListId:
    """The one list with this name or ``domain/list``. Raises Declined for none and for several."""
    found = [
        task_list_id for task_list_id in known if name in (task_list_id[1], _name(task_list_id))
    ]
    shown = cut(name, NAME_SHOWN)
    if not found:
        raise Declined("not-found", f"no task list {shown} is polled here")
    if len(found) > 1:
        raise Declined("usage", f"several: say {' or '.join(map(_name, found))}")
    return found[0]


def _name(task_list_id: TaskListId) -> str:
    return "/".join(task_list_id)

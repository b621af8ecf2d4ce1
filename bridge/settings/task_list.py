"""The task lists to poll, parsed from names or JSON, and any setting's value as text again."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from bridge.settings import names, validators
from bridge.task import TaskListId

Keepalive = Annotated[float, BeforeValidator(validators.keepalive)]
Pollers = Annotated[int, Field(ge=1, le=1000)]  # SWF's own limit for a task list
MaxInFlight = Annotated[int, Field(ge=1, le=1_000_000)]
SwfName = Annotated[str, AfterValidator(validators.swf_name)]
AmqpName = Annotated[str, AfterValidator(validators.amqp_name)]
Deadlines = Literal["off", "type", "history"]

_STAND_IN = {
    "domain": "wrong",
    "pollers": 1,
    "max_in_flight": 1,
    "keepalive": 0,
    "deadlines": "off",
}


class TaskList(BaseModel):
    """A task list to poll, with all defaults filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: SwfName
    domain: SwfName
    pollers: Annotated[Pollers, Field(strict=True)]
    max_in_flight: Annotated[MaxInFlight, Field(strict=True)]
    queue: Annotated[AmqpName, AfterValidator(names.worker_queue)] | None = None
    keepalive: Keepalive
    deadlines: Deadlines

    @property
    def id(self) -> TaskListId:
        """The list's domain and name."""
        return self.domain, self.name

    @property
    def shown(self) -> str:
        """The list's name in the output of ``check``; SWF allows no / in either half."""
        return f"{self.domain}/{self.name}"


def _complete(value: object, info: ValidationInfo) -> object:
    """Parse names or JSON; values missing in an entry come from the settings above TASK_LISTS.

    pydantic leaves out a setting that is invalid. A valid stand-in replaces it, so that the problem
    is reported only once.
    """
    entries = validators.entries(value) if isinstance(value, str) else value
    if not isinstance(entries, list | tuple):
        return entries
    if isinstance(value, str) and not entries:
        raise ValueError("names no task list")
    defaults = _present({name: info.data.get(name, _STAND_IN[name]) for name in _STAND_IN})
    return [_filled_in(each, defaults) for each in entries]


def _each_once(lists: tuple[TaskList, ...]) -> tuple[TaskList, ...]:
    """Accept task lists that are all different."""
    seen: dict[TaskListId, int] = {}
    for number, each in enumerate(lists, 1):
        first = seen.setdefault(each.id, number)
        if first != number:
            raise ValueError(f"entry {number} is the same task list as entry {first}")
    return lists


def _present(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _filled_in(entry: object, defaults: Mapping[str, object]) -> object:
    """Fill in values that are absent or null; the model refuses entries of other types."""
    if isinstance(entry, str):
        entry = {"name": entry}
    return {**defaults, **_present(entry)} if isinstance(entry, dict) else entry


TaskLists = Annotated[tuple[TaskList, ...], BeforeValidator(_complete), AfterValidator(_each_once)]


def written(value: object) -> str:
    """Return the value as its variable would hold it."""
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, tuple) and all(isinstance(each, TaskList) for each in value):
        return json.dumps([each.model_dump(exclude_none=True) for each in value])
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return "" if value is None else str(value)

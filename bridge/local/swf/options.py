"""The options of the local SWF, for its start and for changes while it runs."""

from dataclasses import dataclass, fields
from typing import Any

from bridge.local.swf.errors import TYPES
from bridge.local.swf.limits import MAX_TOKEN
from bridge.local.swf.tokens import SHORTEST


@dataclass
class Options:
    """Deviations of the local SWF from the service, and its limits."""

    hold: float = 60.0
    """Seconds for which an empty poll is held; 60 as in the service."""
    latency: float = 0.0
    """Seconds by which every call is delayed."""
    token_length: int = 600
    """Characters in a task token, 100 to 1024, rounded down to a multiple of four."""
    absent_token: bool = False
    """Omit `taskToken` from an empty poll's answer instead of "" (clients see both forms)."""
    give_to_vanished: bool = False
    """Give a task to a poll whose client has gone, as the service may."""
    any_domain: bool = False
    """Register an unknown domain at its first poll instead of refusing the poll."""
    max_polls: int = 1000
    """Polls of a task list held at once; further polls get LimitExceededFault."""
    keep: int = 1_000_000
    """Closed tasks to keep. An execution is deleted with the last of its tasks."""
    canceled_fault: str = "UnknownResourceFault"
    """The error of RespondActivityTaskCanceled if no cancel was requested. The API reference
    names none; of the two faults that the action declares, this fits better."""

    def update(self, changes: dict[str, Any]) -> None:
        """Set new values, all or none. Raises ValueError for an unknown name or wrong value."""
        kinds: dict[str, type] = {f.name: type(f.default) for f in fields(self)}
        checked = {name: _checked(kinds, name, value) for name, value in changes.items()}
        if not SHORTEST <= checked.get("token_length", SHORTEST) <= MAX_TOKEN:
            raise ValueError(f"option token_length wants {SHORTEST} to {MAX_TOKEN}")
        if checked.get("canceled_fault", self.canceled_fault) not in TYPES:
            raise ValueError(f"option canceled_fault wants one of {', '.join(TYPES)}")
        vars(self).update(checked)


def _checked(kinds: dict[str, type], name: str, value: Any) -> Any:
    if name not in kinds:
        raise ValueError(f"no option {name}: there are {', '.join(kinds)}")
    if kinds[name] is float and type(value) in (int, float):
        if not 0 <= value < 1e8:
            raise ValueError(f"option {name} wants seconds")
        return float(value)
    if type(value) is not kinds[name]:
        raise ValueError(f"option {name} wants a {kinds[name].__name__}")
    if isinstance(value, int) and value < 0:
        raise ValueError(f"option {name} wants no negative number")
    return value

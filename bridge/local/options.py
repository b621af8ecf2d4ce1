"""What can be set on a local SWF, at its start and while it runs."""

from dataclasses import dataclass, fields
from typing import Any

from bridge.local.errors import TYPES
from bridge.local.limits import MAX_TOKEN
from bridge.local.tokens import SHORTEST


@dataclass
class Options:
    """How faithful, how slow and how strict the local SWF is."""

    hold: float = 60.0
    """Seconds for which an empty poll is held; the service's 60."""
    latency: float = 0.0
    """Seconds added before every call is carried out."""
    token_length: int = 600
    """Characters in a task token, a multiple of four, 100 to 1024."""
    absent_token: bool = False
    """Leave `taskToken` out of an empty poll's answer instead of writing "" (both are seen)."""
    give_to_vanished: bool = False
    """Give a task to a poll whose client is gone, as the service may."""
    any_domain: bool = False
    """Register an unknown domain where it is polled instead of refusing it."""
    max_polls: int = 1000
    """Polls of a task list that may be held at once; one more is a LimitExceededFault."""
    keep: int = 1_000_000
    """Closed tasks that are remembered; an older one is forgotten, with an execution of its own."""
    canceled_fault: str = "UnknownResourceFault"
    """The refusal of RespondActivityTaskCanceled where no cancel was requested. The API
    reference names none; of the two faults that the action declares this is the one that fits."""

    def update(self, changes: dict[str, Any]) -> None:
        """Take new values, all or none; raises ValueError for a name or value that cannot be."""
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

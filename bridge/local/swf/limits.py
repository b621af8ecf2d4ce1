"""The constraints on the members of each SWF request, from the API reference of each action.

Lengths are counted in UTF-16 code units, as in the service. An error names the member and the
constraint, and never the value, as the service does for sensitive members.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.local.swf.errors import SwfError, invalid

MAX_TOKEN = 1024
MAX_DATA = 32768
MAX_LIMITED_DATA = 2048
MAX_NAME = 256
MAX_VERSION = 64
MAX_PAGE = 1000

_FORBIDDEN = frozenset(":/|") | {chr(c) for c in (*range(0x20), *range(0x7F, 0xA0))}


class Shape(Protocol):
    """The type and the constraints of one member."""

    def problems(self, path: str, value: Any) -> Iterator[str]:
        """Yield one sentence for each broken constraint. Raises SwfError for a wrong type."""


def length(text: str) -> int:
    """Return the length of `text` in UTF-16 code units."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _mistyped(path: str, expected: str) -> SwfError:
    return SwfError("SerializationException", f"'{path}' can not be converted to {expected}")


def _broken(path: str, constraint: str) -> str:
    return f"Value at '{path}' failed to satisfy constraint: Member must {constraint}"


@dataclass(frozen=True)
class Text:
    """A string of `least` to `most` code units; a `name` must also pass `is_name`."""

    most: int
    least: int = 0
    name: bool = False

    def problems(self, path: str, value: Any) -> Iterator[str]:
        """Yield what is wrong with the string."""
        if not isinstance(value, str):
            raise _mistyped(path, "a String")
        if len(value) * 2 > self.most and length(value) > self.most:
            yield _broken(path, f"have length less than or equal to {self.most}")
        if len(value) < self.least:
            yield _broken(path, f"have length greater than or equal to {self.least}")
        if self.name and not is_name(value):
            yield _broken(
                path,
                "not start or end with whitespace, contain a colon, slash, vertical bar or "
                "control character, or be the string arn",
            )


@dataclass(frozen=True)
class Choice:
    """One of a few strings."""

    values: tuple[str, ...]

    def problems(self, path: str, value: Any) -> Iterator[str]:
        """Yield what is wrong with the choice."""
        if value not in self.values:
            yield _broken(path, f"satisfy enum value set: [{', '.join(self.values)}]")


@dataclass(frozen=True)
class Duration:
    """A whole number as a string of at most 8 digits, or if `optional`, `NONE`."""

    optional: bool = True

    def problems(self, path: str, value: Any) -> Iterator[str]:
        """Yield what is wrong with the duration."""
        if not isinstance(value, str):
            raise _mistyped(path, "a String")
        if value == "NONE" and self.optional:
            return
        if len(value) > 8 or not (value.isascii() and value.isdigit()):
            yield _broken(path, "be a number of at most 8 digits" + " or NONE" * self.optional)


@dataclass(frozen=True)
class Number:
    """An integer from 0 to `most`."""

    most: int

    def problems(self, path: str, value: Any) -> Iterator[str]:
        """Yield what is wrong with the number."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise _mistyped(path, "an Integer")
        if value > self.most:
            yield _broken(path, f"have value less than or equal to {self.most}")
        if value < 0:
            yield _broken(path, "have value greater than or equal to 0")


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def problems(self, path: str, value: Any) -> Iterator[str]:
        """Raise SwfError for a value that is no boolean."""
        if not isinstance(value, bool):
            raise _mistyped(path, "a Boolean")
        yield from ()


class Members:
    """A structure with required and optional members."""

    def __init__(
        self, required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None
    ) -> None:
        self._shapes = {**required, **(optional or {})}
        self._required = frozenset(required)

    def problems(self, path: str, value: Any) -> Iterator[str]:
        """Yield what is wrong with the members; unknown members are ignored, as in SWF."""
        if not isinstance(value, dict):
            raise _mistyped(path or "the request", "a Structure")
        prefix = f"{path}." if path else ""
        for name, shape in self._shapes.items():
            member = value.get(name)
            if member is not None:
                yield from shape.problems(prefix + name, member)
            elif name in self._required:
                yield (
                    f"Value null at '{prefix}{name}' failed to satisfy constraint: "
                    "Member must not be null"
                )

    def check(self, value: Any) -> None:
        """Raise SwfError for a request that breaks a constraint."""
        found = list(self.problems("", value))
        if found:
            raise invalid(found)


def is_name(text: str) -> bool:
    """Whether SWF accepts `text` as the name of a domain, task list or activity."""
    return text == text.strip() and text != "arn" and _FORBIDDEN.isdisjoint(text)


TOKEN = Text(MAX_TOKEN, least=1)
DATA = Text(MAX_DATA)
LIMITED_DATA = Text(MAX_LIMITED_DATA)
NAME = Text(MAX_NAME, least=1, name=True)
WORKFLOW_ID = Text(MAX_NAME, least=1)
RUN_ID = Text(MAX_VERSION, least=1)
VERSION = Text(MAX_VERSION, least=1, name=True)
TASK_LIST = Members({"name": NAME})
ACTIVITY_TYPE = Members({"name": NAME, "version": VERSION})
EXECUTION = Members({"workflowId": WORKFLOW_ID, "runId": RUN_ID})
STATUS = Choice(("REGISTERED", "DEPRECATED"))

_PAGES: dict[str, Shape] = {
    "nextPageToken": Text(MAX_LIMITED_DATA),
    "maximumPageSize": Number(MAX_PAGE),
    "reverseOrder": Flag(),
}
_DESCRIPTION: dict[str, Shape] = {"description": Text(1024)}

REQUESTS: dict[str, Members] = {
    "PollForActivityTask": Members(
        {"domain": NAME, "taskList": TASK_LIST}, {"identity": Text(MAX_NAME)}
    ),
    "RespondActivityTaskCompleted": Members({"taskToken": TOKEN}, {"result": DATA}),
    "RespondActivityTaskFailed": Members(
        {"taskToken": TOKEN}, {"reason": Text(MAX_NAME), "details": DATA}
    ),
    "RespondActivityTaskCanceled": Members({"taskToken": TOKEN}, {"details": DATA}),
    "RecordActivityTaskHeartbeat": Members({"taskToken": TOKEN}, {"details": LIMITED_DATA}),
    "CountPendingActivityTasks": Members({"domain": NAME, "taskList": TASK_LIST}),
    "RegisterDomain": Members(
        {"name": NAME, "workflowExecutionRetentionPeriodInDays": Duration()}, _DESCRIPTION
    ),
    "DescribeDomain": Members({"name": NAME}),
    "DeprecateDomain": Members({"name": NAME}),
    "ListDomains": Members({"registrationStatus": STATUS}, _PAGES),
    "RegisterActivityType": Members(
        {"domain": NAME, "name": NAME, "version": VERSION},
        {
            **_DESCRIPTION,
            "defaultTaskList": TASK_LIST,
            "defaultTaskScheduleToStartTimeout": Duration(),
            "defaultTaskScheduleToCloseTimeout": Duration(),
            "defaultTaskStartToCloseTimeout": Duration(),
            "defaultTaskHeartbeatTimeout": Duration(),
        },
    ),
    "DescribeActivityType": Members({"domain": NAME, "activityType": ACTIVITY_TYPE}),
    "ListActivityTypes": Members(
        {"domain": NAME, "registrationStatus": STATUS}, {"name": NAME, **_PAGES}
    ),
    "DescribeWorkflowExecution": Members({"domain": NAME, "execution": EXECUTION}),
    "GetWorkflowExecutionHistory": Members({"domain": NAME, "execution": EXECUTION}, _PAGES),
    "TerminateWorkflowExecution": Members(
        {"domain": NAME, "workflowId": WORKFLOW_ID},
        {
            "runId": Text(MAX_VERSION),
            "reason": Text(MAX_NAME),
            "details": DATA,
            "childPolicy": Choice(("TERMINATE", "REQUEST_CANCEL", "ABANDON")),
        },
    ),
    "RequestCancelWorkflowExecution": Members(
        {"domain": NAME, "workflowId": WORKFLOW_ID}, {"runId": Text(MAX_VERSION)}
    ),
}
"""The constraints on the request of each operation that the local SWF has."""

"""Domains and the activity types that are registered in them."""

import time
from dataclasses import dataclass, field
from typing import Any

from bridge.local.errors import SwfError, unknown_resource

_DEFAULTS = (
    "defaultTaskList",
    "defaultTaskPriority",
    "defaultTaskScheduleToStartTimeout",
    "defaultTaskScheduleToCloseTimeout",
    "defaultTaskStartToCloseTimeout",
    "defaultTaskHeartbeatTimeout",
)


@dataclass(eq=False)
class Domain:
    """A registered domain and its activity types by (name, version)."""

    name: str
    description: str | None = None
    retention: str = "1"
    deprecated: bool = False
    activity_types: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """REGISTERED or DEPRECATED."""
        return "DEPRECATED" if self.deprecated else "REGISTERED"

    def info(self) -> dict[str, Any]:
        """Return the domain as a DomainInfo."""
        shown = {
            "name": self.name,
            "status": self.status,
            "arn": f"arn:aws:swf:us-east-1:000000000000:/domain/{self.name}",
        }
        if self.description is not None:
            shown["description"] = self.description
        return shown

    def register(self, request: dict[str, Any]) -> None:
        """Register an activity type (RegisterActivityType)."""
        name, version = request["name"], request["version"]
        if (name, version) in self.activity_types:
            raise SwfError(
                "TypeAlreadyExistsFault", f"ActivityType=[name={name}, version={version}]"
            )
        self.activity_types[name, version] = {**request, "creationDate": round(time.time(), 3)}

    def describe(self, name: str, version: str) -> dict[str, Any]:
        """Return an activity type with its defaults (DescribeActivityType)."""
        registered = self.activity_types.get((name, version))
        if registered is None:
            raise unknown_resource(f"type: ActivityType=[name={name}, version={version}]")
        defaults = {k: registered[k] for k in _DEFAULTS if k in registered}
        return {"typeInfo": type_info(registered), "configuration": defaults}

    def default(self, name: str, version: str, member: str) -> str | None:
        """Return a default of a type, where the type is registered and has one."""
        return self.activity_types.get((name, version), {}).get(member)


def type_info(registered: dict[str, Any]) -> dict[str, Any]:
    """Return a registered activity type as an ActivityTypeInfo."""
    info = {
        "activityType": {"name": registered["name"], "version": registered["version"]},
        "status": "REGISTERED",
        "creationDate": registered["creationDate"],
    }
    if registered.get("description") is not None:
        info["description"] = registered["description"]
    return info

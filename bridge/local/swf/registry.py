"""The registered domains and activity types, and the workflow executions."""

import time
from dataclasses import dataclass, field
from typing import Any

from bridge.local.swf.errors import SwfError, unknown_execution, unknown_resource
from bridge.local.swf.task import Execution

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
        """Return a default of an activity type, or None if it is not registered or has none."""
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


class Registry:
    """Domains by name, executions by workflow id and run id."""

    def __init__(self) -> None:
        self.domains: dict[str, Domain] = {}
        self._executions: dict[tuple[str, str, str], Execution] = {}
        self._running: dict[tuple[str, str], Execution] = {}

    def add_domain(self, name: str) -> Domain:
        """Return a domain; register it first if it is unknown."""
        return self.domains.setdefault(name, Domain(name))

    def domain(self, name: str) -> Domain:
        """Return a domain, or raise UnknownResourceFault."""
        found = self.domains.get(name)
        if found is None:
            raise unknown_resource(f"domain: {name}")
        return found

    def execution(self, domain: str, workflow_id: str, run_id: str) -> Execution:
        """Return an execution, open or closed, or raise UnknownResourceFault."""
        self.domain(domain)
        found = self._executions.get((domain, workflow_id, run_id))
        if found is None:
            raise unknown_execution(workflow_id, run_id)
        return found

    def running(self, domain: str, workflow_id: str, run_id: str | None) -> Execution:
        """Return the open execution of a workflow id, or raise UnknownResourceFault."""
        self.domain(domain)
        found = self._running.get((domain, workflow_id))
        if found is None or (run_id and found.run_id != run_id):
            raise unknown_execution(workflow_id, run_id or None)
        return found

    def run(self, domain: str, workflow_id: str) -> Execution:
        """Return the open execution of a workflow id; start one if there is none."""
        execution = self._running.get((domain, workflow_id))
        if execution is None:
            execution = Execution(domain, workflow_id)
            self._running[domain, workflow_id] = execution
            self._executions[domain, workflow_id, execution.run_id] = execution
        return execution

    def end(self, execution: Execution) -> None:
        """Close an execution; it stays available to `execution()`."""
        execution.closed_at = round(time.time(), 3)
        del self._running[execution.domain, execution.workflow_id]

    def forget(self, execution: Execution) -> None:
        """Delete an execution, open or closed, whose tasks have all been deleted."""
        del self._executions[execution.domain, execution.workflow_id, execution.run_id]
        if execution.closed_at is None:
            del self._running[execution.domain, execution.workflow_id]

    def forget_executions(self) -> None:
        """Delete every execution and keep the domains."""
        self._executions.clear()
        self._running.clear()

"""The admin verbs as methods for tests, demo and commands, in this process or over HTTP."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]


class ControlError(Exception):
    """The local SWF refused a request; the message says why."""


class Control(ABC):
    """The base class of LocalSwf and LocalClient: one method for each admin verb."""

    @abstractmethod
    def ask(self, verb: str, body: Mapping[str, Any], timeout: float = 30.0) -> Json:
        """Carry out one verb within `timeout` seconds. Raises ControlError or OSError."""

    @property
    def faults(self) -> "FaultControl":
        """The faults in force."""
        return FaultControl(self)

    def submit(
        self,
        name: str = "echo",
        version: str = "1.0",
        input: str | None = None,  # noqa: A002
        *,
        domain: str = "demo",
        task_list: str = "demo",
        workflow_id: str | None = None,
        activity_id: str | None = None,
        schedule_to_start: float | None = None,
        schedule_to_close: float | None = None,
        start_to_close: float | None = None,
        heartbeat: float | None = None,
        priority: int = 0,
        cancel_after: float | str | None = None,
        time_out_after: float | str | None = None,
        terminate_after: float | str | None = None,
    ) -> str:
        """Schedule a task and return its id. Time-outs are in seconds; None means the default of
        the registered activity type, else NONE. `cancel_after`, `time_out_after` and
        `terminate_after` are as in submit_many.
        """  # noqa: D205
        task = {
            "name": name,
            "version": version,
            "input": input,
            "domain": domain,
            "taskList": task_list,
            "workflowId": workflow_id,
            "activityId": activity_id,
            "scheduleToStartTimeout": schedule_to_start,
            "scheduleToCloseTimeout": schedule_to_close,
            "startToCloseTimeout": start_to_close,
            "heartbeatTimeout": heartbeat,
            "taskPriority": priority,
            "cancelAfter": cancel_after,
            "timeOutAfter": time_out_after,
            "terminateAfter": terminate_after,
        }
        ids: list[str] = self.ask("submit", task)["ids"]
        return ids[0]

    def submit_many(self, tasks: Iterable[Mapping[str, Any]]) -> list[str]:
        """Schedule several tasks; none of them if a member of one is invalid.

        ControlError for an activity id that is already open leaves earlier tasks scheduled.
        Members: name, version, input, control, domain, taskList, workflowId, activityId, count,
        scheduleToStartTimeout, scheduleToCloseTimeout, startToCloseTimeout, heartbeatTimeout,
        taskPriority; cancelAfter, timeOutAfter, terminateAfter: seconds after a poll, or `beats:N`.
        """
        ids: list[str] = self.ask("submit", {"tasks": list(tasks)})["ids"]
        return ids

    def cancel(self, task_id: str) -> None:
        """Request the cancellation of a task, as a decider would."""
        self.ask("cancel", {"id": task_id})

    def terminate(self, task_id: str) -> None:
        """Terminate the execution of a task; all open tasks of the execution close."""
        self.ask("terminate", {"id": task_id})

    def task(self, task_id: str, *, payload: bool = False) -> Json:
        """Return the state and times of a task; token and contents only with `payload`."""
        return self.ask("task", {"id": task_id, "payload": payload})

    def tasks(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        domain: str | None = None,
        task_list: str | None = None,
        since: float | None = None,
        limit: int | None = None,
        payload: bool = False,
    ) -> list[Json]:
        """Return the newest `limit` tasks, oldest first.

        `state` is scheduled, started, completed, failed, canceled, timed-out, terminated, open
        or closed; `since` is the earliest Unix time of scheduling.
        """
        found: list[Json] = self.ask(
            "tasks",
            {
                "state": state,
                "name": name,
                "domain": domain,
                "taskList": task_list,
                "since": since,
                "limit": limit,
                "payload": payload,
            },
        )["tasks"]
        return found

    def history(self, task_id: str) -> list[Json]:
        """Return the history events of a task's execution, with inputs and results."""
        events: list[Json] = self.ask("history", {"id": task_id})["events"]
        return events

    def wait_closed(self, ids: str | Iterable[str] | None = None, timeout: float = 30.0) -> bool:
        """Wait until these tasks, or all, are closed; False after `timeout` seconds."""
        wanted = [ids] if isinstance(ids, str) else None if ids is None else list(ids)
        answer = self.ask("wait", {"ids": wanted, "timeout": timeout}, timeout + 10.0)
        return bool(answer["closed"])

    def counts(self) -> Json:
        """Return totals by state and task list, `mostAtOnce`, held polls, calls by outcome."""
        return self.ask("counts", {})

    def clear(self) -> None:
        """Delete tasks, executions and counts; keep domains, polls, faults and options."""
        self.ask("clear", {})

    def options(self, **changes: Any) -> Json:
        """Change options (bridge.local.swf.options.Options) and return all of them."""
        return self.ask("options", changes)


class FaultControl:
    """Adds and removes faults; the kinds are bridge.local.api.faults.KINDS."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def add(self, kind: str, **rule: Any) -> str:
        """Put a fault in force and return its id.

        `operation`, `domain`, `task_list` and `token` select calls; `probability` (with `seed`) and
        `count` limit how many fail; `delay` is the seconds to wait first; `code`, `message` and
        `status` replace those of a refusal, such as the kind `error`.
        """
        return str(self._control.ask("add-fault", {"kind": kind, **rule})["id"])

    def remove(self, fault_id: str) -> None:
        """Remove one fault."""
        self._control.ask("remove-fault", {"id": fault_id})

    def clear(self) -> None:
        """Remove every fault."""
        self._control.ask("remove-fault", {})

    def list(self) -> list[Json]:
        """Return the faults in force; `struck` counts the calls that each has hit."""
        found: list[Json] = self._control.ask("faults", {})["faults"]
        return found

"""What a test, a demo or a command may ask of a local SWF, in this process or another."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]


class ControlError(Exception):
    """The local SWF refused what it was asked; the message says why."""


class Control(ABC):
    """The verbs of the admin interface as methods; the same for LocalSwf and LocalClient."""

    @abstractmethod
    def ask(self, verb: str, body: Mapping[str, Any], timeout: float = 30.0) -> Json:
        """Carry out one verb and return its answer; raises ControlError, or OSError."""

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
        """Schedule a task and return its id. Time-outs are in seconds; None means NONE,
        or the default of the activity type where it is registered with one. The last three are as
        those of submit_many.
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
        """Schedule several tasks, or none where one is refused.

        Members: name, version, input, control, domain, taskList, workflowId, activityId,
        scheduleToStartTimeout, scheduleToCloseTimeout, startToCloseTimeout, heartbeatTimeout,
        taskPriority, count; cancelAfter, timeOutAfter and terminateAfter, each the seconds after a
        worker was given the task, or `beats:N` for its Nth heartbeat.
        """
        ids: list[str] = self.ask("submit", {"tasks": list(tasks)})["ids"]
        return ids

    def cancel(self, task_id: str) -> None:
        """Request the cancellation of a task, as a decider would."""
        self.ask("cancel", {"id": task_id})

    def terminate(self, task_id: str) -> None:
        """Terminate the execution of a task; every open task of it closes."""
        self.ask("terminate", {"id": task_id})

    def task(self, task_id: str, *, payload: bool = False) -> Json:
        """Return all that happened to a task; token and contents only with `payload`."""
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
        """Return tasks, oldest first, the last `limit` of them.

        `state` is scheduled, started, completed, failed, canceled, timed-out, terminated, open
        or closed; `since` is the Unix time of scheduling.
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
        """Return the events of a task's execution, contents and all."""
        events: list[Json] = self.ask("history", {"id": task_id})["events"]
        return events

    def wait_closed(self, ids: str | Iterable[str] | None = None, timeout: float = 30.0) -> bool:
        """Wait until these tasks, or all, are closed; False where `timeout` seconds passed."""
        wanted = [ids] if isinstance(ids, str) else None if ids is None else list(ids)
        answer = self.ask("wait", {"ids": wanted, "timeout": timeout}, timeout + 10.0)
        return bool(answer["closed"])

    def counts(self) -> Json:
        """Return totals by state, `mostAtOnce`, polls held, calls by outcome, each task list."""
        return self.ask("counts", {})

    def clear(self) -> None:
        """Forget tasks, executions and counts; domains, polls, faults and options stay."""
        self.ask("clear", {})

    def options(self, **changes: Any) -> Json:
        """Change options (bridge.local.options.Options) and return them all."""
        return self.ask("options", changes)


class FaultControl:
    """Faults on demand; the kinds are bridge.local.faults.KINDS."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def add(self, kind: str, **rule: Any) -> str:
        """Put a fault in force and return its id.

        `operation`, `domain`, `task_list`, `token` say which calls; `probability` (with `seed`)
        and `count` how many; `delay` seconds before anything; `code`, `message`, `status` what
        the kind `error` answers.
        """
        return str(self._control.ask("add-fault", {"kind": kind, **rule})["id"])

    def remove(self, fault_id: str) -> None:
        """End one fault."""
        self._control.ask("remove-fault", {"id": fault_id})

    def clear(self) -> None:
        """End every fault."""
        self._control.ask("remove-fault", {})

    def list(self) -> list[Json]:
        """Return the faults in force, each with how often it `struck`."""
        found: list[Json] = self._control.ask("faults", {})["faults"]
        return found

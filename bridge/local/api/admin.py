"""The admin interface of the local SWF, JSON over HTTP under /local/: submit, cancel, faults.

`POST /local/VERB` takes a JSON object. The verbs in READS also take GET, with the same members in
the query. Errors are `{"error": "a sentence"}` with status 400, 404 or 405, and with 403, 415 or
421 for a request that a web page of another site may have sent.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bridge.bounds import decode_json
from bridge.local.api.faults import Faults
from bridge.local.api.wire import Reply, Request
from bridge.local.swf.errors import SwfError
from bridge.local.swf.ledger import Ledger
from bridge.local.swf.limits import ACTIVITY_TYPE, DATA, NAME, WORKFLOW_ID, Members
from bridge.local.swf.model import Swf
from bridge.local.swf.task import ACTIONS, Task, Timeouts, steps

Body = dict[str, Any]
READS = frozenset({"task", "tasks", "history", "counts", "options", "faults"})
MAX_COUNT = 1_000_000

_SPEC = Members(
    {"domain": NAME, "taskList": NAME, "activity": ACTIVITY_TYPE},
    {"input": DATA, "control": DATA, "workflowId": WORKFLOW_ID, "activityId": NAME},
)
_MEMBERS = frozenset(
    {"domain", "taskList", "name", "version", "input", "control", "workflowId", "activityId",
     "scheduleToStartTimeout", "scheduleToCloseTimeout", "startToCloseTimeout",
     "heartbeatTimeout", "taskPriority", "count", *ACTIONS}
)  # fmt: skip


class Admin:
    """Carries out the verbs. Call it on the event loop's thread only."""

    def __init__(self, swf: Swf, ledger: Ledger, faults: Faults) -> None:
        self._swf = swf
        self._ledger = ledger
        self._faults = faults
        self._verbs: dict[str, Callable[[Body], Any]] = {
            "submit": self._submit,
            "cancel": lambda body: self._swf.cancel(self._task(body)),
            "terminate": self._terminate,
            "task": lambda body: self._task(body).view(payload=_flag(body, "payload")),
            "tasks": self._tasks,
            "history": lambda body: {"events": self._task(body).execution.events},
            "counts": lambda _: self._ledger.counts(),
            "clear": self._clear,
            "options": self._options,
            "faults": lambda _: {"faults": self._faults.view()},
            "add-fault": lambda body: {"id": self._faults.add(**body)},
            "remove-fault": lambda body: self._faults.remove(body.get("id")),
        }

    def serve(self, request: Request, reply: Reply) -> None:
        """Answer one HTTP request."""
        url = urlsplit(request.path)
        verb = url.path.removeprefix("/local").strip("/") or "counts"

        def answer(status: int, body: Any) -> None:
            reply.send(status, json.dumps(body).encode(), "application/json")

        if request.method == "GET" and verb not in READS:
            answer(405, {"error": f"{verb} wants POST"})
            return
        try:
            body = decode_json(request.body or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            answer(400, {"error": "the body is no JSON object"})
            return
        members = {**dict(parse_qsl(url.query)), **body}
        if request.method == "GET" and verb == "options" and members:
            answer(405, {"error": "options wants POST to set any"})
            return
        self.run(verb, members, answer)

    def run(self, verb: str, body: Body, answer: Callable[[int, Any], None]) -> None:
        """Carry out a verb. `answer(status, body)` is called once, for `wait` perhaps later."""
        try:
            if verb == "wait":
                self._wait(body, lambda closed: answer(200, {"closed": closed}))
                return
            if verb not in self._verbs:
                known = ", ".join(sorted([*self._verbs, "wait"]))
                raise LookupError(f"no verb {verb[:80]!r}: there are {known}")
            done = self._verbs[verb](body)
        except LookupError as error:
            answer(404, {"error": error.args[0]})
        except SwfError as error:
            answer(400, {"error": error.message})
        except (ValueError, TypeError) as error:
            answer(400, {"error": str(error)})
        else:
            answer(200, {} if done is None else done)

    def _task(self, body: Body) -> Task:
        return self._by_id(str(body.get("id")))

    def _by_id(self, task_id: str) -> Task:
        found = self._swf.tasks.get(task_id)
        if found is None:
            raise LookupError(f"no task {task_id[:80]!r}")
        return found

    def _submit(self, body: Body) -> Body:
        specs = body.get("tasks", [body])
        checked = [self._checked(spec) for spec in specs]
        ids = [
            self._swf.schedule(**arguments).id for count, arguments in checked for _ in range(count)
        ]
        return {"ids": ids}

    def _checked(self, spec: Any) -> tuple[int, dict[str, Any]]:
        if not isinstance(spec, dict):
            raise TypeError("a task is a JSON object")
        unknown = set(spec) - _MEMBERS
        if unknown:
            raise ValueError(f"a task has no {', '.join(sorted(unknown))}")
        domain, task_list = spec.get("domain", "demo"), spec.get("taskList", "demo")
        name, version = spec.get("name", "echo"), spec.get("version", "1.0")
        activity = {"name": name, "version": version}
        _SPEC.check({**spec, "domain": domain, "taskList": task_list, "activity": activity})
        count = int(spec.get("count", 1))
        if not 1 <= count <= MAX_COUNT:
            raise ValueError(f"count wants 1 to {MAX_COUNT}")
        if count > 1 and spec.get("activityId") is not None:
            raise ValueError("count wants 1 where the task has an activityId")
        return count, {
            "domain": domain,
            "task_list": task_list,
            "name": name,
            "version": version,
            "input": spec.get("input"),
            "control": spec.get("control"),
            "workflow_id": spec.get("workflowId"),
            "activity_id": spec.get("activityId"),
            "timeouts": self._timeouts(domain, name, version, spec),
            "priority": int(spec.get("taskPriority") or 0),
            "script": steps(spec),
        }

    def _timeouts(self, domain: str, name: str, version: str, spec: Body) -> Timeouts:
        registered = self._swf.registry.domains.get(domain)

        def seconds(member: str) -> float | None:
            given = spec.get(f"{member}Timeout")
            if given is None and registered is not None:
                given = registered.default(
                    name, version, f"defaultTask{member[0].upper()}{member[1:]}Timeout"
                )
            if given is None or given == "NONE":
                return None
            if not 0 <= float(given) < 1e8:
                raise ValueError(f"{member}Timeout wants seconds, or NONE")
            return float(given)

        return Timeouts(
            seconds("scheduleToStart"),
            seconds("scheduleToClose"),
            seconds("startToClose"),
            seconds("heartbeat"),
        )

    def _terminate(self, body: Body) -> None:
        execution = self._task(body).execution
        if execution.closed_at is None:
            self._swf.terminate(execution, {"childPolicy": "TERMINATE", "reason": "local"})

    def _tasks(self, body: Body) -> Body:
        since = body.get("since")
        found = list(
            self._ledger.tasks(
                state=body.get("state"),
                name=body.get("name"),
                domain=body.get("domain"),
                task_list=body.get("taskList"),
                since=None if since is None else float(since),
            )
        )
        limit = body.get("limit")
        if limit is not None:
            found = found[-int(limit) :] if int(limit) > 0 else []
        payload = _flag(body, "payload")
        return {"tasks": [task.view(payload=payload) for task in found]}

    def _wait(self, body: Body, done: Callable[[bool], None]) -> None:
        ids = body.get("ids")
        for task_id in ids or ():
            self._by_id(task_id)
        seconds = float(body.get("timeout", 30.0))
        if not 0 <= seconds < 1e8:
            raise ValueError("timeout wants seconds")
        self._ledger.wait(ids, seconds, done)

    def _options(self, body: Body) -> Body:
        self._swf.options.update(body)
        return vars(self._swf.options)

    def _clear(self, _: Body) -> None:
        self._swf.clear()
        self._ledger.clear()


def _flag(body: Body, name: str) -> bool:
    return body.get(name) in (True, "1", "true")

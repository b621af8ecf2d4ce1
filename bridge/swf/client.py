"""Amazon SWF: poll, respond, heartbeat, look into a history. The only module that talks to it.

Every call is one attempt: whoever calls decides when to try again. Errors come out as those of
``errors``; no text of theirs holds a token (the service echoes values that it refuses).
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeVar

from bridge.errors import BadReply, ConfigError, Refused, Rejected, TaskClosed, Unavailable
from bridge.swf.aws import Aws
from bridge.swf.boto import Boto3
from bridge.swf.errors import TOKEN, NotTaken
from bridge.swf.runner import Answer, Call, Caller, Line, complete
from bridge.task import ActivityTask, Canceled, Completed, Failed, Reply

log = logging.getLogger(__name__)

HISTORY_PAGE = 200
HISTORY_PAGES = 10
"""A history is read from its end, and at most so far: 2,000 of its 25,000 events."""

Way = Literal["auto", "curl", "boto3"]

_CLOSE_EVENTS = {
    "ActivityTaskCanceled": "canceled",
    "ActivityTaskCompleted": "completed",
    "ActivityTaskFailed": "failed",
    "ActivityTaskTimedOut": "timed out",
    "WorkflowExecutionCanceled": "workflow canceled",
    "WorkflowExecutionCompleted": "workflow completed",
    "WorkflowExecutionContinuedAsNew": "workflow continued as new",
    "WorkflowExecutionFailed": "workflow failed",
    "WorkflowExecutionTerminated": "workflow terminated",
    "WorkflowExecutionTimedOut": "workflow timed out",
}

_GARBLED = (KeyError, TypeError, AttributeError)
"""What reading an answer raises that is not shaped as SWF shapes it."""

T = TypeVar("T")
Observe = Callable[[str, str, float], None]
"""Told of each call: the operation, ``ok`` or the error's code, and the seconds it took."""


class Calls:
    """What SWF is asked, and what its answers mean: conversations of one or a few calls."""

    def __init__(self, identity: str, observe: Observe = lambda *_: None) -> None:
        self._identity = identity
        self._observe = observe

    async def poll(self, domain: str, task_list: str) -> ActivityTask | None:
        """One long poll (PollForActivityTask): up to 60 s; None where no task came.

        Raises Refused for an unknown domain or a missing permission, Unavailable for the rest.
        """
        answer = await self._ask(
            "PollForActivityTask",
            held=True,
            domain=domain,
            taskList={"name": task_list},
            identity=self._identity,
        )
        if not answer.get("taskToken"):
            return None
        try:
            return _task(answer, domain, task_list)
        except _GARBLED as error:
            raise Unavailable("GarbledAnswer", f"a task without {error}") from error

    async def respond(self, reply: Reply) -> None:
        """Close a task (RespondActivityTaskCompleted, -Failed, -Canceled).

        Raises TaskClosed, BadReply for a token that SWF calls invalid, Rejected for any other
        refusal that no retry can heal, Refused and Unavailable for those that one may.
        """
        match reply:
            case Completed(token, result):
                await self._answer("RespondActivityTaskCompleted", token, result=result)
            case Failed(token, reason, details):
                await self._answer(
                    "RespondActivityTaskFailed",
                    token,
                    reason=reason,
                    details=details,
                )
            case Canceled(token, details):
                await self._answer("RespondActivityTaskCanceled", token, details=details)
            case _:
                raise TypeError(reply)

    async def heartbeat(self, token: str, details: str | None) -> bool:
        """Whether SWF asks to cancel the task (RecordActivityTaskHeartbeat). Raises as respond."""
        answer = await self._answer("RecordActivityTaskHeartbeat", token, details=details)
        return bool(answer.get("cancelRequested"))

    async def closed(
        self, domain: str, workflow_id: str, run_id: str, started_event_id: int
    ) -> str | None:
        """How the task that started with this event was closed; None while it is open.

        Reads the history from its end (GetWorkflowExecutionHistory), at most HISTORY_PAGES pages.
        Raises Refused and Unavailable.
        """
        page: dict[str, Any] = {}
        for _ in range(HISTORY_PAGES):
            try:
                answer = await self._call(
                    "GetWorkflowExecutionHistory",
                    domain=domain,
                    execution={"workflowId": workflow_id, "runId": run_id},
                    maximumPageSize=HISTORY_PAGE,
                    reverseOrder=True,
                    **page,
                )
            except TaskClosed:
                return "execution unknown"
            except BadReply as error:
                raise Refused(error.code, error.detail) from None
            with _garbled():
                how, reached = _closed_on(answer, started_event_id)
            if reached or not answer.get("nextPageToken"):
                return how
            page = {"nextPageToken": answer["nextPageToken"]}
        return None

    async def _ask(self, operation: str, *, held: bool = False, **fields: Any) -> Answer:
        """A call that names no task: what SWF does not know or take is ours to mend."""
        try:
            return await self._call(operation, held=held, **fields)
        except TaskClosed as error:
            raise Refused("UnknownResourceFault", str(error)) from None
        except BadReply as error:
            raise Refused(error.code, error.detail) from None

    async def _answer(self, operation: str, token: str, **fields: str | None) -> Answer:
        """A call that names a task: what SWF does not take is the worker's to mend."""
        given: dict[str, Any] = {k: v for k, v in fields.items() if v is not None}
        try:
            return await self._call(operation, taskToken=token, **given)
        except NotTaken as error:
            if error.member == TOKEN:
                raise BadReply("token-invalid", error.detail) from None
            reason = f"reply refused by SWF: {error.detail}"
            raise Rejected("refused-by-swf", error.detail, token=token, reason=reason) from None

    async def _call(self, operation: str, *, held: bool = False, **fields: Any) -> Answer:
        started = time.monotonic()
        code = "ok"
        try:
            return await Call(operation, fields, held)
        except Exception as error:
            code = getattr(error, "code", type(error).__name__)
            raise
        finally:
            self._observe(operation, code, time.monotonic() - started)


class Swf:
    """SWF by one of the two ways: each call waited for, or many carried on by a line.

    The methods may be called from many threads; a line is one thread's. Raises ConfigError where
    no region or no such profile is configured. Missing credentials are no error here: they may
    come later, and each call says Unavailable until they do.
    """

    def __init__(
        self,
        *,
        identity: str,
        pollers: int,
        responders: int,
        read_timeout: float,
        observe: Observe = lambda operation, code, seconds: None,
        way: Way = "boto3",
    ) -> None:
        self.calls = Calls(identity, observe)
        self.caller = _caller(
            way, pollers=pollers, responders=responders + 2, read_timeout=read_timeout
        )

    @property
    def side_by_side(self) -> bool:
        """Whether a line carries on many conversations, or one."""
        return self.caller.side_by_side

    def line(
        self,
        room: int,
        done: Callable[[T], object],
        together: Callable[[], AbstractContextManager[object]] = nullcontext,
        *,
        held: bool = False,
    ) -> Line[T]:
        """A line for conversations that await ``calls``, at most ``room`` at a time.

        They poll, where it is ``held``, or answer.
        """
        return Line(self.caller.wire(room, held=held), done, together)

    def respond(self, reply: Reply) -> None:
        """As ``Calls.respond``, waited for."""
        complete(self.calls.respond(reply), self.caller.call)

    def closed(
        self, domain: str, workflow_id: str, run_id: str, started_event_id: int
    ) -> str | None:
        """As ``Calls.closed``, waited for."""
        conversation = self.calls.closed(domain, workflow_id, run_id, started_event_id)
        return complete(conversation, self.caller.call)


def _caller(way: Way, *, pollers: int, responders: int, read_timeout: float) -> Caller:
    """The cheapest way that can do what the AWS configuration asks for."""
    aws = Aws()
    if way != "boto3":
        try:
            from bridge.swf.curl import Curl, Impossible  # noqa: PLC0415 - PycURL is an extra
        except ImportError:
            if way == "curl":
                sentence = "SWF_BRIDGE_SWF_CLIENT: curl needs PycURL: install swf-bridge[fast]"
                raise ConfigError([sentence]) from None
        else:
            try:
                return Curl(aws, read_timeout=read_timeout)
            except Impossible as error:
                log.warning("swf.client_replaced", extra={"by": "boto3", "reason": str(error)})
    return Boto3(pollers=pollers, responders=responders, read_timeout=read_timeout, aws=aws)


@contextmanager
def _garbled() -> Iterator[None]:
    """An answer of another shape than SWF's is noise, which may be better next time."""
    try:
        yield
    except (AttributeError, LookupError, TypeError) as error:
        raise Unavailable("GarbledAnswer", f"not of SWF's shape: {error}") from None


def _task(answer: Mapping[str, Any], domain: str, task_list: str) -> ActivityTask:
    text = answer.get("input")
    return ActivityTask(
        token=_text(answer["taskToken"]),
        activity_id=_text(answer["activityId"]),
        started_event_id=_number(answer["startedEventId"]),
        workflow_id=_text(answer["workflowExecution"]["workflowId"]),
        run_id=_text(answer["workflowExecution"]["runId"]),
        name=_text(answer["activityType"]["name"]),
        version=_text(answer["activityType"]["version"]),
        input=None if text is None else _text(text),
        domain=domain,
        task_list=task_list,
        polled_at=time.time(),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} for a string")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{type(value).__name__} for a number")
    return value


def _closed_on(page: Mapping[str, Any], started_event_id: int) -> tuple[str | None, bool]:
    """How a page of history closes the task, and whether no older page can say more."""
    for event in page.get("events", ()):
        if event["eventId"] <= started_event_id:
            return None, True
        if how := _closes(event, started_event_id):
            return how, True
    return None, False


def _closes(event: Mapping[str, Any], started_event_id: int) -> str | None:
    """How ``event`` closed the task, where it did."""
    kind = event["eventType"]
    how = _CLOSE_EVENTS.get(kind)
    if how is None or kind.startswith("Workflow"):
        return how
    attributes = event[f"{kind[0].lower()}{kind[1:]}EventAttributes"]
    if attributes.get("startedEventId") != started_event_id:
        return None
    timeout = attributes.get("timeoutType")
    return f"{how} ({timeout})" if timeout else how

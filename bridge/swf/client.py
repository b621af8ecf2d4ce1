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
from bridge.swf import history
from bridge.swf.aws import Aws
from bridge.swf.boto import Boto3
from bridge.swf.clock import SwfClock
from bridge.swf.codes import known_code
from bridge.swf.errors import TOKEN, NotTaken
from bridge.swf.history import Look
from bridge.swf.runner import Answer, Call, Caller, Runner, complete
from bridge.task import ActivityTask, Canceled, Completed, Failed, Reply, Timeouts

log = logging.getLogger(__name__)

HISTORY_PAGE = 200
HISTORY_PAGES = 10
"""A history is read from its end, and at most so far: 2,000 of its 25,000 events."""

Way = Literal["auto", "curl", "boto3"]

_GARBLED = (KeyError, TypeError, AttributeError)
"""What reading an answer raises that is not shaped as SWF shapes it."""

T = TypeVar("T")
Observe = Callable[[str, str, float], None]
"""Told of each call: the operation, ``ok`` or the error's code, and the seconds it took."""


class Calls:
    """What SWF is asked, and what its answers mean: conversations of one or a few calls."""

    def __init__(
        self, identity: str, observe: Observe = lambda *_: None, clock: SwfClock | None = None
    ) -> None:
        self._clock = clock or SwfClock()
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
            return _task(answer, domain, task_list, self._clock.note(_date(answer)))
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

    async def look(self, task: ActivityTask, pages: int = HISTORY_PAGES) -> Look:
        """What its workflow's history says of the task (GetWorkflowExecutionHistory).

        The history is read from its end, at most so many ``pages``; of the time-outs only what
        stands on the page that was read last. Raises Refused and Unavailable.
        """
        found = Look(whole=False)
        page: dict[str, Any] = {}
        for _ in range(pages):
            try:
                answer = await self._call(
                    "GetWorkflowExecutionHistory",
                    domain=task.domain,
                    execution={"workflowId": task.workflow_id, "runId": task.run_id},
                    maximumPageSize=HISTORY_PAGE,
                    reverseOrder=True,
                    **page,
                )
            except TaskClosed:
                return Look("execution unknown")
            except BadReply as error:
                raise Refused(error.code, error.detail) from None
            with _garbled():
                found = history.read(answer.get("events", ()), task.started_event_id)
            if found.whole or not answer.get("nextPageToken"):
                break
            page = {"nextPageToken": answer["nextPageToken"]}
        return found

    async def registered(self, domain: str, name: str, version: str) -> Timeouts:
        """The time-outs with which an activity type is registered (DescribeActivityType).

        Raises Refused, for a type that is not registered too, and Unavailable.
        """
        kind = {"name": name, "version": version}
        answer = await self._ask("DescribeActivityType", domain=domain, activityType=kind)
        with _garbled():
            return history.timeouts_of(answer.get("configuration", {}), "defaultTask{}Timeout")

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
            answer = await Call(operation, fields, held)
            self._clock.note(_date(answer))
            return answer
        except Exception as error:
            code = known_code(error)
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
        self.clock = SwfClock()
        self.calls = Calls(identity, observe, self.clock)
        self.caller = _caller(
            way, pollers=pollers, responders=responders + 2, read_timeout=read_timeout
        )

    @property
    def side_by_side(self) -> bool:
        """Whether a runner carries on many conversations, or one."""
        return self.caller.side_by_side

    def room(self, wanted: int) -> int:
        """The conversations that one thread carries on, where ``wanted`` are needed."""
        return wanted if self.side_by_side else 1

    def runner(
        self,
        room: int,
        done: Callable[[T], object],
        together: Callable[[], AbstractContextManager[object]] = nullcontext,
        *,
        held: bool = False,
    ) -> Runner[T]:
        """A runner for conversations that await ``calls``, at most ``room`` at a time.

        They poll, where it is ``held``, or answer.
        """
        return Runner(self.caller.wire(room, held=held), done, together)

    def respond(self, reply: Reply) -> None:
        """As ``Calls.respond``, waited for."""
        complete(self.calls.respond(reply), self.caller.call)

    def look(self, task: ActivityTask) -> Look:
        """As ``Calls.look``, waited for."""
        return complete(self.calls.look(task), self.caller.call)


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


def _date(answer: Mapping[str, Any]) -> object:
    """The header ``Date`` of an answer, where boto3 puts it."""
    try:
        return answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    except (KeyError, TypeError):
        return None


def _task(
    answer: Mapping[str, Any], domain: str, task_list: str, given_at: float | None
) -> ActivityTask:
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
        given_at=given_at,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} for a string")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{type(value).__name__} for a number")
    return value

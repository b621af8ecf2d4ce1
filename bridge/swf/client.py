"""The operations of Amazon SWF that the bridge uses: poll, respond, heartbeat, read a history.

Every call is one attempt; the caller decides when to retry. Errors are those of ``bridge.errors``.
Their texts hold no token, although SWF quotes values that it refuses.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

from bridge.errors import BadReply, ConfigError, Refused, Rejected, TaskClosed, Unavailable
from bridge.swf import history
from bridge.swf.aws import Aws
from bridge.swf.boto import Boto3
from bridge.swf.clock import SwfClock
from bridge.swf.errors import TOKEN, NotTaken, known_code
from bridge.swf.history import Look
from bridge.swf.runner import (
    Answer,
    Call,
    Caller,
    Conversation,
    Executor,
    Job,
    JobQueue,
    Runner,
    T,
    complete,
)
from bridge.task import ActivityTask, Canceled, Completed, Failed, Reply, Timeouts

log = logging.getLogger(__name__)

HISTORY_PAGE = 200
HISTORY_PAGES = 10
"""Pages of a history read at most, from its end: 2,000 events of up to 25,000."""

Way = Literal["auto", "curl", "boto3"]

_GARBLED = (KeyError, TypeError, AttributeError)
"""Exceptions raised while reading an answer whose structure is not SWF's."""

Observe = Callable[[str, str, float], None]
"""Called after each call with its operation, ``ok`` or the error's code, and its seconds."""


class Calls:
    """SWF's operations as conversations (``swf.runner``) of one or more calls."""

    def __init__(
        self, identity: str, observe: Observe = lambda *_: None, clock: SwfClock | None = None
    ) -> None:
        self._clock = clock or SwfClock()
        self._identity = identity
        self._observe = observe

    async def poll(self, domain: str, task_list: str) -> ActivityTask | None:
        """One long poll (PollForActivityTask) of up to 60 s; None if SWF had no task.

        Raises Refused for an unknown domain or a missing permission, else Unavailable.
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

        Raises TaskClosed; BadReply for a token that SWF calls invalid; Rejected for any other
        permanent refusal; Refused or Unavailable for failures that a retry may overcome.
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
        """Whether SWF asks to cancel the task (RecordActivityTaskHeartbeat). Errors as respond."""
        answer = await self._answer("RecordActivityTaskHeartbeat", token, details=details)
        return bool(answer.get("cancelRequested"))

    async def look(self, task: ActivityTask, pages: int = HISTORY_PAGES) -> Look:
        """What the workflow's history says of the task (GetWorkflowExecutionHistory).

        Reads at most ``pages`` pages, from the history's end. Time-outs are found only if the last
        page read holds both the start and the scheduling of the task. Raises Refused, Unavailable.
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

        Raises Refused, also for a type that is not registered, and Unavailable.
        """
        kind = {"name": name, "version": version}
        answer = await self._ask("DescribeActivityType", domain=domain, activityType=kind)
        with _garbled():
            return history.timeouts_of(answer.get("configuration", {}), "defaultTask{}Timeout")

    async def _ask(self, operation: str, *, held: bool = False, **fields: Any) -> Answer:
        """A call without a task token: the operator must mend a permanent refusal (Refused)."""
        try:
            return await self._call(operation, held=held, **fields)
        except TaskClosed as error:
            raise Refused("UnknownResourceFault", str(error)) from None
        except BadReply as error:
            raise Refused(error.code, error.detail) from None

    async def _answer(self, operation: str, token: str, **fields: str | None) -> Answer:
        """A call with a task token: a permanent refusal is the worker's fault (BadReply)."""
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
    """SWF through boto3 or libcurl, with blocking calls or a ``runner`` of many conversations.

    The methods may be called from many threads; each runner belongs to one thread. The constructor
    raises ConfigError for a missing region or profile. Credentials may be configured later: until
    then each call raises Unavailable.
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
        aws: Aws | None = None,
    ) -> None:
        self.clock = SwfClock()
        self.calls = Calls(identity, observe, self.clock)
        self.caller = _caller(
            way,
            aws or Aws(),
            pollers=pollers,
            responders=responders + 2,
            read_timeout=read_timeout,
        )

    @property
    def side_by_side(self) -> bool:
        """Whether one runner can carry on many conversations at once."""
        return self.caller.side_by_side

    def room(self, wanted: int) -> int:
        """The number of conversations, of the ``wanted`` ones, that one thread can carry on."""
        return wanted if self.side_by_side else 1

    def runner(
        self,
        room: int,
        done: Callable[[T], object],
        together: Callable[[], AbstractContextManager[object]] = nullcontext,
        *,
        held: bool = False,
    ) -> Runner[T]:
        """A runner for at most ``room`` conversations at a time that use ``calls``.

        With ``held`` their calls are polls; otherwise they are calls that SWF answers at once.
        """
        return Runner(self.caller.wire(room, held=held), done, together)

    def executors(
        self,
        name: str,
        wanted: int,
        jobs: JobQueue[Job],
        converse: Callable[[Job], Conversation[T]],
        *,
        done: Callable[[T], object],
        together: Callable[[], AbstractContextManager[object]],
    ) -> list[Executor[Job, T]]:
        """The executors that together carry on ``wanted`` conversations side by side."""
        room = self.room(wanted)
        return [
            Executor(f"{name}-{number}", jobs, converse, self.runner(room, done, together), room)
            for number in range(1, wanted // room + 1)
        ]

    def respond(self, reply: Reply) -> None:
        """Run ``Calls.respond`` and block until SWF has answered."""
        complete(self.calls.respond(reply), self.caller.call)

    def look(self, task: ActivityTask) -> Look:
        """Run ``Calls.look`` and block until SWF has answered."""
        return complete(self.calls.look(task), self.caller.call)


def _caller(way: Way, aws: Aws, *, pollers: int, responders: int, read_timeout: float) -> Caller:
    """The caller that uses the least CPU among those that support the AWS configuration."""
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
    """Raise Unavailable for an answer that is not structured as SWF's: a retry may succeed."""
    try:
        yield
    except (AttributeError, LookupError, TypeError) as error:
        raise Unavailable("GarbledAnswer", f"not of SWF's shape: {error}") from None


def _date(answer: Mapping[str, Any]) -> object:
    """The ``Date`` header of an answer in boto3's structure; None if it has none."""
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

"""Amazon SWF: poll, respond, heartbeat, look into a history. The only module that talks to it.

Every call is one attempt: whoever calls decides when to try again. Errors come out as those of
``errors``; no text of theirs holds a token (the service echoes values that it refuses).
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError, ProfileNotFound

from bridge.errors import BadReply, ConfigError, Refused, Rejected, TaskClosed, Unavailable
from bridge.task import ActivityTask, Canceled, Completed, Failed, Reply

if TYPE_CHECKING:
    from mypy_boto3_swf import SWFClient

CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 20.0
"""Seconds for everything but a poll, which the service holds for 60."""

HISTORY_PAGE = 200
HISTORY_PAGES = 10
"""A history is read from its end, and at most so far: 2,000 of its 25,000 events."""

_NOT_PERMITTED = {
    "AccessDenied",
    "AccessDeniedException",
    "DomainDeprecatedFault",
    "NotAuthorized",
    "OperationNotPermittedFault",
    "OptInRequired",
    "UnauthorizedOperation",
}
_FOR_NOW = {
    "AuthFailure",
    "BandwidthLimitExceeded",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InternalFailure",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "LimitExceededFault",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "UnrecognizedClientException",
}
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

Observe = Callable[[str, str, float], None]
"""Told of each call: the operation, ``ok`` or the error's code, and the seconds it took."""


class Swf:
    """The calls that the bridge makes. Safe to use from many threads.

    Raises ConfigError where no region or no such profile is configured. Missing credentials are
    no error here: they may come later, and each call says Unavailable until they do.
    """

    def __init__(
        self,
        *,
        identity: str,
        pollers: int,
        responders: int,
        read_timeout: float,
        observe: Observe = lambda operation, code, seconds: None,
    ) -> None:
        self._identity = identity
        self._observe = observe
        session = _session()
        self._polls = _client(session, connections=pollers, read_timeout=read_timeout)
        self._answers = _client(session, connections=responders + 2, read_timeout=ANSWER_TIMEOUT)
        self.endpoint: str = self._polls.meta.endpoint_url
        self.region: str = self._polls.meta.region_name

    def poll(self, domain: str, task_list: str) -> ActivityTask | None:
        """One long poll (PollForActivityTask): up to 60 s; None where no task came.

        Raises Refused for an unknown domain or a missing permission, Unavailable for the rest.
        """
        answer = self._ask(
            self._polls.poll_for_activity_task,
            domain=domain,
            taskList={"name": task_list},
            identity=self._identity,
        )
        if not answer.get("taskToken"):
            return None
        try:
            return _task(answer, domain, task_list)
        except (KeyError, TypeError) as error:
            raise Unavailable("GarbledAnswer", f"a task without {error}") from error

    def respond(self, reply: Reply) -> None:
        """Close a task (RespondActivityTaskCompleted, -Failed, -Canceled).

        Raises TaskClosed, BadReply for a token that SWF calls invalid, Rejected for any other
        refusal that no retry can heal, Refused and Unavailable for those that one may.
        """
        match reply:
            case Completed(token, result):
                self._answer(self._answers.respond_activity_task_completed, token, result=result)
            case Failed(token, reason, details):
                self._answer(
                    self._answers.respond_activity_task_failed,
                    token,
                    reason=reason,
                    details=details,
                )
            case Canceled(token, details):
                self._answer(self._answers.respond_activity_task_canceled, token, details=details)
            case _:
                raise TypeError(reply)

    def heartbeat(self, token: str, details: str | None) -> bool:
        """Whether SWF asks to cancel the task (RecordActivityTaskHeartbeat). Raises as respond."""
        answer = self._answer(self._answers.record_activity_task_heartbeat, token, details=details)
        return bool(answer.get("cancelRequested"))

    def closed(
        self, domain: str, workflow_id: str, run_id: str, started_event_id: int
    ) -> str | None:
        """How the task that started with this event was closed; None while it is open.

        Reads the history from its end (GetWorkflowExecutionHistory), at most HISTORY_PAGES pages.
        Raises Refused and Unavailable.
        """
        page: dict[str, Any] = {}
        for _ in range(HISTORY_PAGES):
            try:
                answer = self._call(
                    self._answers.get_workflow_execution_history,
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
            for event in answer.get("events", ()):
                if event["eventId"] <= started_event_id:
                    return None
                if how := _closes(event, started_event_id):
                    return how
            if not answer.get("nextPageToken"):
                return None
            page = {"nextPageToken": answer["nextPageToken"]}
        return None

    def describe_domain(self, domain: str) -> str:
        """REGISTERED or DEPRECATED (DescribeDomain). Raises as poll."""
        answer = self._ask(self._answers.describe_domain, name=domain)
        return str(answer["domainInfo"]["status"])

    def _ask(self, operation: Callable[..., Any], **fields: Any) -> Mapping[str, Any]:
        """A call that names no task: what SWF does not know or take is ours to mend."""
        try:
            return self._call(operation, **fields)
        except TaskClosed as error:
            raise Refused("UnknownResourceFault", str(error)) from None
        except BadReply as error:
            raise Refused(error.code, error.detail) from None

    def _answer(
        self, operation: Callable[..., Any], token: str, **fields: str | None
    ) -> Mapping[str, Any]:
        """A call that names a task: what SWF does not take is the worker's to mend."""
        given = {name: value for name, value in fields.items() if value is not None}
        try:
            return self._call(operation, taskToken=token, **given)
        except BadReply as error:
            detail = error.detail.replace(token, "…")
            if "token" in detail.lower():
                raise BadReply("token-invalid", detail) from None
            reason = f"reply refused by SWF: {detail}"
            raise Rejected("refused-by-swf", detail, token=token, reason=reason) from None

    def _call(self, operation: Callable[..., Any], **fields: Any) -> Mapping[str, Any]:
        started = time.monotonic()
        code = "ok"
        try:
            answer: Mapping[str, Any] = operation(**fields)
        except (ClientError, BotoCoreError, OSError, ValueError) as error:
            mapped = _mapped(error)
            code = getattr(mapped, "code", type(mapped).__name__)
            raise mapped from None
        finally:
            self._observe(operation.__name__, code, time.monotonic() - started)
        return answer


def _session() -> boto3.Session:
    # botocore knows AWS_DEFAULT_REGION alone; every other SDK, and our contract, AWS_REGION.
    region = ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None)
    return boto3.Session(botocore_session=botocore.session.Session(session_vars={"region": region}))


def _client(session: boto3.Session, *, connections: int, read_timeout: float) -> "SWFClient":
    config = Config(
        # A retry behind our back polls again while the first poll may have been given a task.
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=connections,
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        tcp_keepalive=True,
        parameter_validation=False,
        user_agent_extra="swf-bridge",
    )
    try:
        client = session.client("swf", config=config)
    except NoRegionError:
        raise ConfigError(["AWS_REGION: is not set, and no profile names a region"]) from None
    except ProfileNotFound as error:
        raise ConfigError([f"AWS_PROFILE: {error}"]) from None
    except (BotoCoreError, ValueError) as error:
        raise ConfigError([f"AWS: {error}"]) from None
    client.meta.events.register("after-call.swf", _refuse_garbage)
    return client


def _refuse_garbage(http_response: Any, parsed: Mapping[str, Any], **_: Any) -> None:
    """Raise ValueError for a success whose body is no JSON object: a proxy's, or cut.

    botocore takes it for an empty answer; a result that SWF never saw would count as delivered.
    """
    body = http_response.content
    if body and not parsed.keys() - {"ResponseMetadata"} and not isinstance(json.loads(body), dict):
        raise ValueError("the answer is no JSON object")


def _task(answer: Mapping[str, Any], domain: str, task_list: str) -> ActivityTask:
    return ActivityTask(
        token=answer["taskToken"],
        activity_id=answer["activityId"],
        started_event_id=answer["startedEventId"],
        workflow_id=answer["workflowExecution"]["workflowId"],
        run_id=answer["workflowExecution"]["runId"],
        name=answer["activityType"]["name"],
        version=answer["activityType"]["version"],
        input=answer.get("input"),
        domain=domain,
        task_list=task_list,
        polled_at=time.time(),
    )


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


def _mapped(error: Exception) -> Exception:
    """The error as ours, named by what is to be done about it."""
    if not isinstance(error, ClientError):
        return Unavailable(type(error).__name__, _told(str(error)))
    code = str(error.response.get("Error", {}).get("Code", ""))
    text = _told(str(error.response.get("Error", {}).get("Message", "")))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "UnknownResourceFault":
        return TaskClosed(text)
    if code in _NOT_PERMITTED:
        return Refused(code, text)
    # A code of digits is the status of an answer that SWF did not write: a proxy's page.
    if code in _FOR_NOW or not 400 <= status < 500 or not code or code.isdigit():
        return Unavailable(code or str(status), text)
    return BadReply(code, f"{code}: {text}")


def _told(text: str) -> str:
    """An error's text without the value that it may echo."""
    return re.sub(r"Value '.*?' at '", "Value '…' at '", text, flags=re.DOTALL)[:500]

"""AWS: session, region and endpoint as boto3 finds them, its errors as ours, and calls by boto3.

The environment, profiles, roles and endpoints of the AWS SDKs work as everywhere, for this module
asks boto3 for all of them.
"""

import json
import re
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import boto3
import botocore.session
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)

from bridge.errors import BadReply, ConfigError, Refused, TaskClosed, Unavailable

CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 20.0
"""Seconds for everything but a poll, which the service holds for 60."""

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


class Caller(Protocol):
    """A way to call SWF. Safe to use from many threads; one attempt a call."""

    def call(
        self, operation: str, fields: Mapping[str, Any], *, held: bool = False
    ) -> Mapping[str, Any]:
        """The answer to an operation of the API; ``held`` is for one that the service holds.

        Raises the errors of ``error_for``.
        """


def make_client(*, connections: int = 10, read_timeout: float = ANSWER_TIMEOUT) -> Any:
    """A boto3 client for SWF. Raises ConfigError where boto3 cannot make one."""
    # botocore knows AWS_DEFAULT_REGION alone; every other SDK, and our contract, AWS_REGION.
    region = ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None)
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
        core = botocore.session.Session(session_vars={"region": region})
        client = boto3.Session(botocore_session=core).client("swf", config=config)
        if not client.meta.region_name:  # a variable that is there and empty
            raise NoRegionError
        return client
    except NoRegionError:
        raise ConfigError(["AWS_REGION: is not set, and no profile names a region"]) from None
    except ProfileNotFound as error:
        raise ConfigError([f"AWS_PROFILE: {error}"]) from None
    except (BotoCoreError, ValueError) as error:
        raise ConfigError([f"AWS: {error}"]) from None


class Boto3:
    """Calls by boto3's client: the way that can all that boto3 can."""

    def __init__(self, *, pollers: int, responders: int, read_timeout: float) -> None:
        self._make = {
            True: partial(_guarded_client, connections=pollers, read_timeout=read_timeout),
            False: partial(_guarded_client, connections=responders),
        }
        self._lock = threading.Lock()
        self._clients = {held: make() for held, make in self._make.items()}

    def __repr__(self) -> str:
        return "<Boto3>"

    def call(
        self, operation: str, fields: Mapping[str, Any], *, held: bool = False
    ) -> Mapping[str, Any]:
        """As ``Caller`` promises."""
        client = self._clients[held]
        try:
            answer: Mapping[str, Any] = getattr(client, xform_name(operation))(**fields)
        except ClientError as error:
            raise _client_error(error) from None
        except NoCredentialsError as error:
            self._renew(held, client)
            raise Unavailable("NoCredentialsError", str(error)) from None
        except Exception as error:  # noqa: BLE001 - botocore trips over garbage in many ways
            raise Unavailable(type(error).__name__, _without_values(str(error))) from None
        return answer

    def _renew(self, held: bool, client: Any) -> None:
        """A client never finds credentials that came after it: make it anew for the next call."""
        with self._lock:
            if self._clients[held] is client:
                self._clients[held] = self._make[held]()


def _guarded_client(**options: Any) -> Any:
    client = make_client(**options)
    client.meta.events.register("after-call.swf", _refuse_garbage)
    return client


def _refuse_garbage(http_response: Any, parsed: Mapping[str, Any], **_: Any) -> None:
    """Raise ValueError for a success whose body is no JSON object: a proxy's, or cut.

    botocore takes it for an empty answer; a result that SWF never saw would count as delivered.
    """
    body = http_response.content
    if body and not parsed.keys() - {"ResponseMetadata"} and not isinstance(json.loads(body), dict):
        raise ValueError("the answer is no JSON object")


def _client_error(error: ClientError) -> Exception:
    told = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return error_for(str(told.get("Code", "")), status, str(told.get("Message", "")))


def error_for(code: str, status: int, text: str) -> Exception:
    """What SWF answered, named by what is to be done about it.

    TaskClosed for a resource that it does not know, Refused where a person must mend something,
    Unavailable for what may heal, BadReply for what never will.
    """
    text = _without_values(text)
    if code == "UnknownResourceFault":
        return TaskClosed(text)
    if code in _NOT_PERMITTED:
        return Refused(code, text)
    # A code of digits is the status of an answer that SWF did not write: a proxy's page.
    if code in _FOR_NOW or not 400 <= status < 500 or not code or code.isdigit():
        return Unavailable(code or str(status), text)
    return BadReply(code, f"{code}: {text}")


def _without_values(text: str) -> str:
    """An error's text without the value that it may echo."""
    return re.sub(r"Value '.*?' at '", "Value '…' at '", text, flags=re.DOTALL)[:500]

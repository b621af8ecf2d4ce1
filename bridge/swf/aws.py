"""AWS: region, endpoint, credentials as boto3 finds them, its errors as ours, and calls by boto3.

The environment, profiles, roles and endpoints of the AWS SDKs work as everywhere, for this module
asks boto3 for all of them.
"""

import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import boto3
import botocore.session
from botocore import xform_name
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from bridge.errors import BadReply, ConfigError, Refused, TaskClosed, Unavailable
from bridge.swf.runner import Answer, Call, InPlace, Wire

CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 20.0
"""Seconds for everything but a poll, which the service holds for 60."""
KEEP = 1.0
"""Seconds for which credentials are taken for the current ones."""
RENEW = 5.0
"""Seconds between two looks for credentials while there are none."""

_WRONG = (
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    PartialCredentialsError,
    ProfileNotFound,
)
"""What no later look for credentials can heal: a person must mend the configuration."""

_NOT_PERMITTED = {
    "AccessDenied",
    "AccessDeniedException",
    "DomainDeprecatedFault",
    "NotAuthorized",
    "OperationNotPermittedFault",
    "OptInRequired",
    "UnauthorizedOperation",
}
NOT_LET_IN = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
"""Credentials, or a clock, that AWS does not take: they may be others in a minute."""
_FOR_NOW = NOT_LET_IN | {
    "BandwidthLimitExceeded",
    "InternalFailure",
    "LimitExceededFault",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
}


class Caller(Protocol):
    """A way to call SWF: one attempt a call. Safe to use from many threads, but for a wire."""

    side_by_side: bool
    """Whether one thread can have many calls under way."""

    def call(self, call: Call) -> Answer:
        """The answer, waited for. Raises the errors of ``error_for``."""

    def wire(self, room: int, *, held: bool) -> Wire:
        """Where the calls of a line are made, at most ``room`` side by side, all held or none."""


class LateCredentials(Credentials):
    """The session's credentials; looked for again, every RENEW seconds, while there are none.

    Once found, refreshing them is botocore's. Stands in a session in place of its chain of
    providers, for a client never finds credentials that came after it. Safe for many threads.
    """

    def __init__(self) -> None:
        super().__init__("", "", method="late")
        self._lock = threading.Lock()
        self._found: Credentials | None = None
        self._why = ("NoCredentialsError", "Unable to locate credentials")
        self._looked_at = float("-inf")

    def load_credentials(self) -> Credentials:
        """What a session asks its chain for."""
        return self

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Key, secret and token for one call. Raises Unavailable, or what a provider raises."""
        if self._found is None:
            self.look()
        if self._found is None:
            raise Unavailable(*self._why)
        return self._found.get_frozen_credentials()

    @property
    def change(self) -> bool:
        """Whether those that were found, if any, are replaced from time to time."""
        return self._found is None or isinstance(self._found, RefreshableCredentials)

    def look(self) -> None:
        """Look for them, unless they are there or were missing a moment ago. Raises _WRONG."""
        with self._lock:
            if self._found is not None or time.monotonic() - self._looked_at < RENEW:
                return
            try:
                self._found = _session().get_credentials()
            except _WRONG:
                raise
            except Exception as error:  # noqa: BLE001 - a provider may run anything, as a process
                self._why = (type(error).__name__, str(error))
            finally:
                self._looked_at = time.monotonic()


class KeptCredentials:
    """The credentials for the next call, without a wait for whoever provides them.

    They are asked for again, every KEEP seconds, on a thread of its own: a provider that hangs
    must not delay the calls that the last ones still sign. Safe for many threads.
    """

    def __init__(self, source: LateCredentials) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._kept: ReadOnlyCredentials | None = None
        self._error: Exception | None = None
        self._due = float("-inf")

    def now(self) -> ReadOnlyCredentials:
        """Key, secret and token, for whoever may wait for the provider. Raises Unavailable."""
        try:
            return self._source.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            raise error_from(error) from None

    def current(self) -> ReadOnlyCredentials:
        """The same for whoever may not, but the first time."""
        if time.monotonic() >= self._due and self._lock.acquire(blocking=False):
            if self._due == float("-inf"):
                self._look()
            else:
                threading.Thread(target=self._look, name="credentials", daemon=True).start()
        while self._kept is None:
            if (error := self._error) is not None:
                raise error_from(error)
            with self._lock:  # another thread looks for the first time
                pass
        return self._kept

    def _look(self) -> None:
        """With the lock in hand."""
        due = time.monotonic() + KEEP
        try:
            self._kept = self._source.get_frozen_credentials()
            if not self._source.change:
                due = float("inf")
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            self._error, self._kept = error, None
        finally:
            self._due = due
            self._lock.release()


class Aws:
    """What boto3 finds in the environment, in profiles and of roles.

    Raises ConfigError for what cannot work. Credentials may come later.
    """

    def __init__(self) -> None:
        self.credentials = LateCredentials()
        with _config_errors():
            self._core = _session()
            self.credentials.look()
        self._core.register_component("credential_provider", self.credentials)
        self._session = boto3.Session(botocore_session=self._core)

    def make_client(self, *, connections: int = 10, read_timeout: float = ANSWER_TIMEOUT) -> Any:
        """A boto3 client for SWF. Raises ConfigError."""
        config = Config(
            # A retry behind our back polls again while the first may have been given a task.
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=connections,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=read_timeout,
            tcp_keepalive=True,
            parameter_validation=False,
            user_agent_extra="swf-bridge",
        )
        with _config_errors():
            client = self._session.client("swf", config=config)
            if not client.meta.region_name:  # a variable that is there and empty
                raise NoRegionError
        return client

    def who(self) -> str:
        """The ARN of the credentials' owner (STS GetCallerIdentity). Raises Unavailable."""
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=CONNECT_TIMEOUT)
        try:
            client = self._session.client("sts", config=config)
            return str(client.get_caller_identity()["Arn"])
        except Unavailable:
            raise
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise Unavailable(code, _without_values(str(error))) from None
        except Exception as error:  # noqa: BLE001 - as for every call
            raise Unavailable(type(error).__name__, _without_values(str(error))) from None

    def monitored(self) -> bool:
        """Whether botocore is to report its calls to a monitor, or has plugins of the user's."""
        return bool(
            self._core.get_config_variable("csm_enabled")
            or os.environ.get("BOTOCORE_EXPERIMENTAL__PLUGINS")
        )

    def authorities(self) -> str:
        """The file of certificates by which TLS is verified."""
        own = self._core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
        return str(own or get_cert_path(True))


def proxy_for(url: str) -> str:
    """The proxy that the environment names for ``url``, as botocore has it; else nothing."""
    return str(get_environ_proxies(url).get(url.partition(":")[0], ""))


def _session() -> botocore.session.Session:
    # botocore knows AWS_DEFAULT_REGION alone; every other SDK, and our contract, AWS_REGION.
    # An empty one counts as unset.
    names = [name for name in ("AWS_REGION", "AWS_DEFAULT_REGION") if os.environ.get(name)]
    region = ("region", names, None, None)
    return botocore.session.Session(session_vars={"region": region})


@contextmanager
def _config_errors() -> Iterator[None]:
    try:
        yield
    except NoRegionError:
        raise ConfigError(["AWS_REGION: is not set, and no profile names a region"]) from None
    except ProfileNotFound as error:
        raise ConfigError([f"AWS_PROFILE: {error}"]) from None
    except (BotoCoreError, ValueError) as error:
        raise ConfigError([f"AWS: {error}"]) from None


class Boto3:
    """Calls by boto3's client: the way that can all that boto3 can. Raises ConfigError."""

    side_by_side = False

    def __init__(
        self, *, pollers: int, responders: int, read_timeout: float, aws: Aws | None = None
    ) -> None:
        aws = aws or Aws()
        self._clients = {
            True: aws.make_client(connections=pollers, read_timeout=read_timeout),
            False: aws.make_client(connections=responders),
        }
        self.answered_at = ""
        """The ``Date`` of the last answer, be it a refusal."""
        for client in self._clients.values():
            client.meta.events.register("after-call.swf", self._note_date)
            client.meta.events.register("after-call.swf", _refuse_garbage)

    def __repr__(self) -> str:
        return f"<Boto3 to {self.endpoint}>"

    @property
    def endpoint(self) -> str:
        """Where the calls go."""
        return str(self._clients[False].meta.endpoint_url)

    @property
    def region(self) -> str:
        """The region that signs them."""
        return str(self._clients[False].meta.region_name)

    def call(self, call: Call) -> Answer:
        """As ``Caller`` promises."""
        try:
            client = self._clients[call.held]
            answer: Answer = getattr(client, xform_name(call.operation))(**call.fields)
        except Exception as error:  # noqa: BLE001 - botocore's parsers raise anything over noise
            raise error_from(error) from None
        return answer

    def _note_date(self, http_response: Any, **_: Any) -> None:
        self.answered_at = http_response.headers.get("date", "")

    def wire(self, room: int, *, held: bool) -> Wire:
        """As ``Caller``; there is room for one."""
        del room, held
        return InPlace(self.call)


def _refuse_garbage(http_response: Any, parsed: Mapping[str, Any], **_: Any) -> None:
    """Raise ValueError for a success whose body is no JSON object: a proxy's, or cut.

    botocore takes it for an empty answer; a result that SWF never saw would count as delivered.
    """
    body = http_response.content
    if body and not parsed.keys() - {"ResponseMetadata"} and not isinstance(json.loads(body), dict):
        raise ValueError("the answer is no JSON object")


def error_from(error: Exception) -> Exception:
    """What botocore raised, in a call or in getting credentials, as ours."""
    if isinstance(error, Unavailable):
        return error
    if not isinstance(error, ClientError):
        return Unavailable(type(error).__name__, _without_values(str(error)))
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

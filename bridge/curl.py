"""Calls of SWF by libcurl, which signs them itself: a tenth of the CPU that boto3's client takes.

Region, endpoint, credentials, proxies and authorities are still boto3's to find (``aws``). Polls
that the service holds all wait on one thread (``polls``). Answers are sent by whoever asks, each
thread on a connection of its own.

A call is one attempt, but for one case that libcurl decides: where a kept connection turns out to
be closed before a byte of the answer came, it sends the request again on a new one.
"""

import json
import threading
from collections import deque
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pycurl
from botocore.credentials import ReadOnlyCredentials

from bridge import __version__
from bridge.aws import ANSWER_TIMEOUT, CONNECT_TIMEOUT, Aws, error_for, error_from, proxy_for
from bridge.errors import Unavailable
from bridge.polls import Polls

OLDEST = (8, 0)
"""The libcurl from which on its signatures are taken for right."""

TARGET = "SimpleWorkflowService"
USER_AGENT = f"swf-bridge/{__version__} {pycurl.version.split()[0]}"
_HEADERS = ("Content-Type: application/x-amz-json-1.0", "Accept:", "Expect:")


class Impossible(Exception):
    """The AWS configuration, or this libcurl, asks for boto3's client."""


class Curl:
    """Calls by PycURL. Raises ConfigError as boto3 does, and Impossible."""

    def __init__(self, aws: Aws, *, polls: int, read_timeout: float) -> None:
        client = aws.make_client()
        if reason := _obstacle(aws, client.meta.config):
            raise Impossible(reason)
        self._url: str = client.meta.endpoint_url
        self._sign = f"aws:amz:{client.meta.region_name}:{client.meta.service_model.signing_name}"
        self._authorities = aws.authorities()
        self._proxy = proxy_for(self._url)
        # libcurl counts from the start of the call, boto3 from the last byte it heard.
        self._timeout = {True: CONNECT_TIMEOUT + read_timeout, False: ANSWER_TIMEOUT}
        self._credentials = aws.credentials
        self._own = threading.local()
        self._polls = Polls(polls)
        self._idle: deque[Any] = deque()

    def __repr__(self) -> str:
        return f"<Curl to {self._url}>"

    def call(
        self, operation: str, fields: Mapping[str, Any], *, held: bool = False
    ) -> Mapping[str, Any]:
        """As ``aws.Caller`` promises."""
        body = json.dumps(fields, separators=(",", ":")).encode("ascii")
        credentials = self._frozen_credentials()
        handle = self._handle(held)
        answer = BytesIO()
        _prepare(handle, operation, body, answer, credentials)
        try:
            if held:
                self._polls.perform(handle, self._timeout[True])
            else:
                handle.perform()
            status: int = handle.getinfo(pycurl.RESPONSE_CODE)
        except pycurl.error as error:
            raise Unavailable("ConnectionFailed", str(error.args[-1])) from None
        if held:
            self._idle.append(handle)
        return _decoded(status, answer.getvalue())

    def _handle(self, held: bool) -> Any:
        """A handle with what is the same for every call; its connection lives on with it."""
        if held:
            try:
                return self._idle.popleft()
            except IndexError:
                return self._new_handle(held)
        if (handle := getattr(self._own, "handle", None)) is None:
            handle = self._own.handle = self._new_handle(held)
        return handle

    def _new_handle(self, held: bool) -> Any:
        handle = pycurl.Curl()
        for option, value in (
            (pycurl.URL, self._url),
            (pycurl.POST, 1),
            (pycurl.AWS_SIGV4, self._sign),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            # Not among the headers, which are signed: proxies may change this one.
            (pycurl.USERAGENT, USER_AGENT),
            (pycurl.NOSIGNAL, 1),
            (pycurl.TCP_KEEPALIVE, 1),
            (pycurl.CONNECTTIMEOUT_MS, int(CONNECT_TIMEOUT * 1000)),
            (pycurl.TIMEOUT_MS, int(self._timeout[held] * 1000)),
            (pycurl.PROXY, self._proxy),
            (pycurl.NOPROXY, ""),
            (pycurl.CAINFO, self._authorities),
            (pycurl.PROXY_CAINFO, self._authorities),
        ):
            handle.setopt(option, value)
        return handle

    def _frozen_credentials(self) -> ReadOnlyCredentials:
        try:
            return self._credentials.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            raise error_from(error) from None


def _prepare(
    handle: Any, operation: str, body: bytes, answer: BytesIO, credentials: ReadOnlyCredentials
) -> None:
    headers = [*_HEADERS, f"X-Amz-Target: {TARGET}.{operation}"]
    if credentials.token:
        headers.append(f"X-Amz-Security-Token: {credentials.token}")
    handle.setopt(pycurl.HTTPHEADER, headers)
    handle.setopt(pycurl.USERNAME, credentials.access_key)
    handle.setopt(pycurl.PASSWORD, credentials.secret_key)
    handle.setopt(pycurl.POSTFIELDS, body)
    handle.setopt(pycurl.WRITEDATA, answer)


def _obstacle(aws: Aws, config: Any) -> str:
    """Why libcurl cannot do what the session asks for; nothing where it can."""
    if not hasattr(pycurl, "AWS_SIGV4"):
        return "this PycURL cannot sign requests"
    version = pycurl.version_info()[1]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return f"libcurl {version} is older than {OLDEST[0]}.{OLDEST[1]}"
    if config.signature_version != "v4":
        return f"signature version {config.signature_version}"
    if config.client_cert:
        return "a client certificate"
    if config.proxies_config:
        return "settings of a proxy"
    return "client-side monitoring or plugins" if aws.monitored() else ""


def _decoded(status: int, body: bytes) -> Mapping[str, Any]:
    """The answer. Raises the error that it tells, and Unavailable for what SWF did not write."""
    succeeded = 200 <= status < 300
    try:
        answer = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Unavailable("GarbledAnswer" if succeeded else str(status), "no JSON object")
    if succeeded:
        return answer
    # As botocore reads it: "com.amazonaws.swf#UnknownResourceFault:http://…"
    code = str(answer.get("__type") or status).partition(":")[0].rpartition("#")[2]
    raise error_for(code, status, str(answer.get("message") or answer.get("Message") or ""))

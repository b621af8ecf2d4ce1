"""Calls of SWF by libcurl, which signs them itself: a tenth of the CPU that boto3's client takes.

Region, endpoint, credentials, proxies and authorities are still boto3's to find (``aws``). A line's
calls go side by side on the thread that owns it (``multi``); ``call`` makes one and waits for it.

A call is one attempt, but for one case that libcurl decides: where a kept connection turns out to
be closed before a byte of the answer came, it sends the request again on a new one.
"""

import json
import threading
from collections.abc import Sequence
from typing import Any

import pycurl
from botocore.credentials import ReadOnlyCredentials

from bridge import __version__
from bridge.aws import ANSWER_TIMEOUT, CONNECT_TIMEOUT, Aws, KeptCredentials, error_for, proxy_for
from bridge.errors import Unavailable
from bridge.line import Answer, Call
from bridge.multi import Multi

OLDEST = (8, 0)
"""The libcurl from which on its signatures are taken for right."""

TARGET = "SimpleWorkflowService"
USER_AGENT = f"swf-bridge/{__version__} {pycurl.version.split()[0]}"
_HEADERS = ("Content-Type: application/x-amz-json-1.0", "Accept:", "Expect:")
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Impossible(Exception):
    """The AWS configuration, or this libcurl, asks for boto3's client."""


class Curl:
    """Calls by PycURL. Raises ConfigError as boto3 does, and Impossible."""

    side_by_side = True

    def __init__(self, aws: Aws, *, read_timeout: float) -> None:
        client = aws.make_client()
        if reason := _obstacle(aws, client.meta.config):
            raise Impossible(reason)
        self._url: str = client.meta.endpoint_url
        self._sign = f"aws:amz:{client.meta.region_name}:{client.meta.service_model.signing_name}"
        self._authorities = aws.authorities()
        self._proxy = proxy_for(self._url)
        # libcurl counts from the start of the call, boto3 from the last byte it heard.
        self._timeout = {True: CONNECT_TIMEOUT + read_timeout, False: ANSWER_TIMEOUT}
        self._credentials = KeptCredentials(aws.credentials)
        self._own = threading.local()

    def __repr__(self) -> str:
        return f"<Curl to {self._url}>"

    def call(self, call: Call) -> Answer:
        """As ``aws.Caller`` promises."""
        name = "poll" if call.held else "answer"
        handle: _Handle | None = getattr(self._own, name, None)
        if handle is None:
            handle = self._handle(call.held)
            setattr(self._own, name, handle)
        handle.prepare(call, self._credentials.now())
        try:
            handle.curl.perform()
        except pycurl.error as error:
            raise _failed(error.args) from None
        return handle.answer()

    def wire(self, room: int, *, held: bool) -> "CurlWire":
        """Where the calls of a line are made, ``room`` side by side; all are ``held`` or none."""
        return CurlWire(self, Multi(room, self._timeout[held]), held=held)

    def _handle(self, held: bool) -> "_Handle":
        """A handle with what is the same for every call; its connection may outlive a call."""
        handle = _Handle()
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
            handle.curl.setopt(option, value)
        return handle


class CurlWire:
    """A wire of ``line`` over ``Multi``."""

    def __init__(self, curl: Curl, multi: Multi, *, held: bool) -> None:
        self.wake = multi.wake
        self._curl = curl
        self._multi = multi
        self._held = held
        self._idle: list[_Handle] = []
        self._unsent: list[tuple[Any, Exception]] = []

    def begin(self, call: Call, whom: Any) -> None:
        """As ``line.Wire``."""
        handle = self._idle.pop() if self._idle else self._curl._handle(self._held)
        try:
            handle.prepare(call, self._curl._credentials.current())
        except Exception as error:  # noqa: BLE001 - no credentials: it ends where others end
            self._idle.append(handle)
            self._unsent.append((whom, error))
        else:
            self._multi.begin(handle.curl, (whom, handle))

    def ended(self, timeout: float) -> Sequence[tuple[Any, Answer | Exception]]:
        """As ``line.Wire``."""
        found: list[tuple[Any, Answer | Exception]]
        found, self._unsent = [*self._unsent], []
        for (whom, handle), failure in self._multi.ended(0.0 if found else timeout):
            self._idle.append(handle)
            try:
                found.append((whom, _failed(failure) if failure else handle.answer()))
            except Exception as error:  # noqa: BLE001 - raised again where the call is awaited
                found.append((whom, error))
        return found


class _Handle:
    """A handle of libcurl, and what it is set to: what stays the same is not set again."""

    __slots__ = ("_body", "_credentials", "_operation", "curl")

    def __init__(self) -> None:
        self.curl = pycurl.Curl()
        self._body: list[bytes] = []
        self._operation = ""
        self._credentials: ReadOnlyCredentials | None = None
        self.curl.setopt(pycurl.WRITEFUNCTION, self._body.append)

    def prepare(self, call: Call, credentials: ReadOnlyCredentials) -> None:
        """Set up the next call."""
        setopt = self.curl.setopt
        if call.operation != self._operation or credentials != self._credentials:
            headers = [*_HEADERS, f"X-Amz-Target: {TARGET}.{call.operation}"]
            if credentials.token:
                headers.append(f"X-Amz-Security-Token: {credentials.token}")
            setopt(pycurl.HTTPHEADER, headers)
            setopt(pycurl.USERNAME, credentials.access_key)
            setopt(pycurl.PASSWORD, credentials.secret_key)
            self._operation, self._credentials = call.operation, credentials
        setopt(pycurl.POSTFIELDS, _encode(call.fields))
        self._body.clear()

    def answer(self) -> Answer:
        """What came. Raises the error that it tells."""
        return _decoded(self.curl.getinfo(pycurl.RESPONSE_CODE), b"".join(self._body))


def _failed(error: Sequence[Any]) -> Unavailable:
    return Unavailable("ConnectionFailed", str(error[-1]))


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


def _decoded(status: int, body: bytes) -> Answer:
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

"""Calls to SWF through libcurl, which signs them: a tenth of the CPU of boto3's client.

boto3 still resolves region, endpoint, credentials, proxies and CA file (``aws``). A runner's calls
go side by side on the runner's thread (``curl_multi``); ``call`` makes one call and blocks.

A call is one attempt, with one exception: if a reused connection turns out to be closed before the
first byte of the answer, libcurl sends the request again on a new connection.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from botocore.credentials import ReadOnlyCredentials

from bridge import __version__
from bridge.bounds import decode_json
from bridge.errors import Unavailable
from bridge.swf.aws import ANSWER_TIMEOUT, Aws, proxy_for
from bridge.swf.credentials import KeptCredentials
from bridge.swf.curl_multi import AGENT, Handle, Multi, Target, obstacle
from bridge.swf.errors import error_for
from bridge.swf.runner import ANSWER_LIMIT, Answer, Call

SERVICE = "SimpleWorkflowService"
USER_AGENT = f"swf-bridge/{__version__} {AGENT}"
_HEADERS = ("Content-Type: application/x-amz-json-1.0", "Accept:", "Expect:")
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Impossible(Exception):
    """The AWS configuration needs what this libcurl cannot do: use boto3's client."""


class Curl:
    """A ``Caller`` that uses PycURL. The constructor raises ConfigError and Impossible."""

    side_by_side = True

    def __init__(self, aws: Aws, *, read_timeout: float) -> None:
        client = aws.make_client()
        if reason := _obstacle(aws, client.meta.config):
            raise Impossible(reason)
        self.endpoint: str = client.meta.endpoint_url
        """The URL that calls are sent to."""
        # libcurl's time-out runs from the start of the call, boto3's from the last byte received.
        timeout = {True: aws.connect_timeout + read_timeout, False: ANSWER_TIMEOUT}
        signing = client.meta.service_model.signing_name
        self._targets = {
            held: Target(
                self.endpoint,
                f"aws:amz:{client.meta.region_name}:{signing}",
                USER_AGENT,
                aws.connect_timeout,
                timeout[held],
                proxy_for(self.endpoint),
                aws.authorities(),
            )
            for held in timeout
        }
        self._judged = aws.credentials.judged
        self._credentials = KeptCredentials(aws.credentials)
        self._own = threading.local()

    def __repr__(self) -> str:
        return f"<Curl to {self.endpoint}>"

    def call(self, call: Call) -> Answer:
        """Implement ``Caller.call``."""
        name = "poll" if call.held else "answer"
        handle: _Handle | None = getattr(self._own, name, None)
        if handle is None:
            handle = self._handle(call.held)
            setattr(self._own, name, handle)
        handle.prepare(call, self._credentials.now())
        try:
            return handle.answer(handle.perform())
        except Exception as error:
            self._judged(error)
            raise

    def wire(self, room: int, *, held: bool) -> "CurlWire":
        """Implement ``Caller.wire``."""
        multi = Multi(room, self._targets[held].timeout)
        make = partial(self._handle, held)
        return CurlWire(multi, make, self._credentials.current, self._judged)

    def _handle(self, held: bool) -> "_Handle":
        return _Handle(self._targets[held])


class CurlWire:
    """A ``Wire`` over ``Multi``, with a pool of idle handles."""

    def __init__(
        self,
        multi: Multi,
        make_handle: Callable[[], "_Handle"],
        credentials: Callable[[], ReadOnlyCredentials],
        judged: Callable[[Exception], object],
    ) -> None:
        self.wake = multi.wake
        self._multi = multi
        self._make_handle = make_handle
        self._credentials = credentials
        self._judged = judged
        self._idle: list[_Handle] = []
        self._unsent: list[tuple[Any, Exception]] = []

    def begin(self, call: Call, whom: Any) -> None:
        """Implement ``Wire.begin``."""
        handle = self._idle.pop() if self._idle else self._make_handle()
        try:
            handle.prepare(call, self._credentials())
        except Exception as error:  # noqa: BLE001 - no credentials: ``ended`` returns the error
            self._idle.append(handle)
            self._unsent.append((whom, error))
        else:
            self._multi.begin(handle, (whom, handle))

    def ended(self, timeout: float) -> Sequence[tuple[Any, Answer | Exception]]:
        """Implement ``Wire.ended``."""
        found: list[tuple[Any, Answer | Exception]]
        found, self._unsent = [*self._unsent], []
        for (whom, handle), failure in self._multi.ended(0.0 if found else timeout):
            self._idle.append(handle)
            try:
                found.append((whom, handle.answer(failure)))
            except Exception as error:  # noqa: BLE001 - raised again where the call is awaited
                self._judged(error)
                found.append((whom, error))
        return found


class _Handle(Handle):
    """A handle for calls to SWF. It sets headers and keys again only if they change."""

    __slots__ = ("_call", "_credentials", "_operation")

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._call: Call | None = None
        self._operation = ""
        self._credentials: ReadOnlyCredentials | None = None

    def prepare(self, call: Call, credentials: ReadOnlyCredentials) -> None:
        """Set up the next call."""
        if call.operation != self._operation or credentials != self._credentials:
            headers = [*_HEADERS, f"X-Amz-Target: {SERVICE}.{call.operation}"]
            if credentials.token:
                headers.append(f"X-Amz-Security-Token: {credentials.token}")
            self.sign(headers, credentials.access_key, credentials.secret_key)
            self._operation, self._credentials = call.operation, credentials
        self._call = call
        self.fill(_encode(call.fields), ANSWER_LIMIT[call.held])

    def answer(self, failure: str) -> Answer:
        """The answer. Raises the error in it, and Unavailable for a ``failure`` of libcurl."""
        if failure:
            raise Unavailable("ConnectionFailed", self.why(failure))
        fields = self._call.fields if self._call else {}
        answer = decode_answer(*self.answered(), fields)
        return {**answer, "ResponseMetadata": {"HTTPHeaders": {"date": self.date}}}


def _obstacle(aws: Aws, config: Any) -> str:
    """Why libcurl cannot serve this AWS configuration; empty if it can."""
    if reason := obstacle():
        return reason
    if config.signature_version != "v4":
        return f"signature version {config.signature_version}"
    return "client-side monitoring or plugins" if aws.monitored() else ""


def decode_answer(status: int, body: bytes, fields: Mapping[str, Any]) -> Answer:
    """The answer to a call with ``fields``.

    Raises the error that it reports, and Unavailable for a body that is no JSON object.
    """
    succeeded = 200 <= status < 300
    try:
        answer = decode_json(body, size=len(body)) if body else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Unavailable("GarbledAnswer" if succeeded else str(status), "no JSON object")
    if succeeded:
        return answer
    # Parsed as in botocore: "com.amazonaws.swf#UnknownResourceFault:http://…"
    code = str(answer.get("__type") or status).partition(":")[0].rpartition("#")[2]
    text = str(answer.get("message") or answer.get("Message") or "")
    raise error_for(code, status, text, fields)

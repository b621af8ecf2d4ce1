"""A wire of libcurl: signed calls to SWF, many side by side on one thread.

libcurl's blocking ``perform`` wakes once a second for each call. In ``Multi`` a thousand long polls
cost nothing until SWF answers one of them.
"""

import json
import logging
import os
import select
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pycurl
from botocore.credentials import ReadOnlyCredentials

from bridge.bounds import decode_json
from bridge.errors import Unavailable
from bridge.swf.errors import error_for
from bridge.swf.runner import ANSWER_LIMIT, Answer, Call

log = logging.getLogger(__name__)

SERVICE = "SimpleWorkflowService"
_HEADERS = ("Content-Type: application/x-amz-json-1.0", "Accept:", "Expect:")
_encode = json.JSONEncoder(separators=(",", ":")).encode

HEADERS = 100
"""Header lines that are kept of an answer: libcurl bounds each, but not how many they are."""

GRACE = 5.0
"""Seconds past a call's time-out at which ``Multi`` ends it, if libcurl has not."""

OLDEST = (8, 0)
"""The first version of libcurl whose AWS signatures are trusted."""
AGENT = str(pycurl.version.split()[0])

Ended = tuple[Any, str]
"""The ``whom`` of an ended call, and the reason if no answer came, else empty."""


def obstacle() -> str:
    """Why this libcurl cannot sign requests; empty if it can."""
    if not hasattr(pycurl, "AWS_SIGV4"):
        return "this PycURL cannot sign requests"
    version = pycurl.version_info()[1]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return f"libcurl {version} is older than {OLDEST[0]}.{OLDEST[1]}"
    return ""


class Target(NamedTuple):
    """Where requests are sent to, and the options they share."""

    url: str
    sign: str
    """``aws:amz:REGION:SERVICE``."""
    agent: str
    connect_timeout: float
    timeout: float
    """Seconds from the start of a call to its end."""
    proxy: str
    authorities: str
    """Path of the CA certificates that are trusted."""


class Handle:
    """Makes one signed call to SWF after the other; its connection may outlive them.

    It sets headers and keys again only if they change. An answer of more bytes than ANSWER_LIMIT
    fails the call.
    """

    def __init__(self, target: Target) -> None:
        self.curl = pycurl.Curl()
        self._fields: Mapping[str, Any] = {}
        self._operation = ""
        self._credentials: ReadOnlyCredentials | None = None
        self._headers: deque[bytes] = deque(maxlen=HEADERS)
        """The last header lines, also of a proxy's and interim answers. The deque's own method
        takes each from libcurl: no code of Python runs for it."""
        self._body: list[bytes] = []
        self._limit = self._left = 0
        for option, value in (
            (pycurl.URL, target.url),
            (pycurl.POST, 1),
            (pycurl.AWS_SIGV4, target.sign),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            # Set here, not as a header: headers are signed, and proxies may change this one.
            (pycurl.USERAGENT, target.agent),
            # With this set, libcurl decompresses what a proxy has compressed all the same.
            (pycurl.ACCEPT_ENCODING, "identity"),
            (pycurl.NOSIGNAL, 1),
            (pycurl.TCP_KEEPALIVE, 1),
            (pycurl.CONNECTTIMEOUT_MS, int(target.connect_timeout * 1000)),
            (pycurl.TIMEOUT_MS, int(target.timeout * 1000)),
            (pycurl.PROXY, target.proxy),
            (pycurl.NOPROXY, ""),
            (pycurl.CAINFO, target.authorities),
            (pycurl.PROXY_CAINFO, target.authorities),
            (pycurl.HEADERFUNCTION, self._headers.append),
            (pycurl.WRITEFUNCTION, self._take),
        ):
            self.curl.setopt(option, value)

    def prepare(self, call: Call, credentials: ReadOnlyCredentials) -> None:
        """Set up the next call."""
        if call.operation != self._operation or credentials != self._credentials:
            headers = [*_HEADERS, f"X-Amz-Target: {SERVICE}.{call.operation}"]
            if credentials.token:
                headers.append(f"X-Amz-Security-Token: {credentials.token}")
            self.curl.setopt(pycurl.HTTPHEADER, headers)
            self.curl.setopt(pycurl.USERNAME, credentials.access_key)
            self.curl.setopt(pycurl.PASSWORD, credentials.secret_key)
            self._operation, self._credentials = call.operation, credentials
        self._fields = call.fields
        self.curl.setopt(pycurl.POSTFIELDS, _encode(call.fields))
        self._body.clear()
        self._limit = self._left = ANSWER_LIMIT[call.held]

    def perform(self) -> str:
        """Make the call and block. Returns why no answer came; empty if one did."""
        try:
            self.curl.perform()
        except pycurl.error as error:
            return str(error.args[-1])
        return ""

    def answer(self, failure: str) -> Answer:
        """The answer. Raises the error in it, and Unavailable for a ``failure`` of libcurl."""
        if failure:
            too_long = f"an answer of over {self._limit} bytes" if self._left < 0 else ""
            raise Unavailable("ConnectionFailed", too_long or failure)
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        answer = decode_answer(status, b"".join(self._body), self._fields)
        return {**answer, "ResponseMetadata": {"HTTPHeaders": {"date": self._date()}}}

    def _take(self, chunk: bytes) -> int | None:
        """Called by libcurl with a chunk of the body. Returning 0 ends the request."""
        self._left -= len(chunk)
        if self._left < 0:
            return 0
        self._body.append(chunk)
        return None

    def _date(self) -> str:
        """The ``Date`` header of the last answer; empty if it has none."""
        for line in reversed(self._headers):
            if line[:5].lower() == b"date:":
                return line[5:].strip().decode("latin-1")
            if line[:5] == b"HTTP/":
                break
        return ""


class Multi:
    """The calls that are open. One thread owns it; other threads may call only ``wake``.

    At most ``connections`` + 1 connections stay open for later calls. ``timeout`` is the time-out
    in seconds that every handle has.
    """

    def __init__(self, connections: int, timeout: float) -> None:
        self._timeout = timeout
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections + 1)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._due: float | None = None
        """Monotonic seconds at which libcurl wants to be called without an event."""
        self._waiting: dict[Any, tuple[Any, float]] = {}
        """By handle, oldest first: ``whom``, and the monotonic seconds at which it is given up."""
        self._woken = False
        self._sleeping = False

    def __repr__(self) -> str:
        return f"<Multi {len(self._waiting)} calls>"

    def begin(self, handle: Any, whom: Any) -> None:
        """Start the call that the ``pycurl.Curl`` is set up for; ``ended`` returns ``whom``."""
        self._waiting[handle] = whom, time.monotonic() + self._timeout + GRACE
        self._multi.add_handle(handle)

    def ended(self, timeout: float) -> list[Ended]:
        """The calls that have ended. Waits ``timeout`` seconds at most for one, or for ``wake``."""
        self._kick()
        found = self._finished()
        if not found:
            self._wait(timeout)
            self._kick()
            found = self._finished()
        return found or self._given_up()

    def wake(self) -> None:
        """Make ``ended`` return soon; from any thread. Calls before it returns count as one."""
        if not self._woken:
            self._woken = True
            if self._sleeping:  # a thread that is awake checks the flag before it sleeps
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close libcurl's handle and all descriptors."""
        self._multi.close()
        self._epoll.close()
        os.close(self._wake)

    def _wait(self, timeout: float) -> None:
        if self._due is not None:
            timeout = min(timeout, max(0.0, self._due - time.monotonic()))
        self._sleeping = True
        events = self._epoll.poll(0.0 if self._woken else timeout)
        self._sleeping = self._woken = False
        for fd, what in events:
            if fd == self._wake:
                os.eventfd_read(fd)
            else:
                self._multi.socket_action(fd, _to_curl(what))

    def _kick(self) -> None:
        if self._due is not None and self._due <= time.monotonic():
            self._due = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _finished(self) -> list[Ended]:
        found: list[Ended] = []
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            found += [(self._taken(handle), "") for handle in succeeded]
            found += [(self._taken(handle), text or str(number)) for handle, number, text in failed]
        return found

    def _given_up(self) -> list[Ended]:
        """The calls that libcurl should have timed out: they are removed."""
        late: list[Ended] = []
        while self._waiting:
            handle, (_, until) = next(iter(self._waiting.items()))
            if until > time.monotonic():
                break
            late.append((self._taken(handle), "the call was not answered in time"))
        return late

    def _taken(self, handle: Any) -> Any:
        self._multi.remove_handle(handle)
        return self._waiting.pop(handle)[0]

    def _on_timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _on_socket(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        # libcurl may report a closed socket late, when its number is in use again. epoll drops a
        # closed socket by itself, so epoll is asked what is registered: no record is kept here.
        if what == pycurl.POLL_REMOVE:
            self._forget(fd)
            return
        try:
            self._epoll.register(fd, _TO_EPOLL.get(what, 0))
        except FileExistsError:
            self._epoll.modify(fd, _TO_EPOLL.get(what, 0))

    def _forget(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except OSError:
            log.debug("swf.socket_gone", extra={"fd": fd})


_TO_EPOLL = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


def _to_curl(events: int) -> int:
    if events == select.EPOLLIN:
        return int(pycurl.CSELECT_IN)
    mask = pycurl.CSELECT_IN if events & select.EPOLLIN else 0
    mask |= pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0
    return mask | (pycurl.CSELECT_ERR if events & ~(select.EPOLLIN | select.EPOLLOUT) else 0)


class CurlWire:
    """A ``Wire`` over ``Multi``, with a pool of idle handles."""

    def __init__(
        self,
        multi: Multi,
        make_handle: Callable[[], Handle],
        credentials: Callable[[], ReadOnlyCredentials],
        judged: Callable[[Exception], object],
    ) -> None:
        self.wake = multi.wake
        self._multi = multi
        self._make_handle = make_handle
        self._credentials = credentials
        self._judged = judged
        self._idle: list[Handle] = []
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
            self._multi.begin(handle.curl, (whom, handle))

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

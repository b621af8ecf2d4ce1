"""Signed HTTP requests by libcurl: one blocking request, or many side by side on one thread.

libcurl's blocking ``perform`` wakes once a second for each call. In ``Multi`` a thousand long polls
cost nothing until SWF answers one of them.
"""

import logging
import os
import select
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import pycurl

log = logging.getLogger(__name__)

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
    """Makes one request after the other; its connection may outlive them.

    An answer of more bytes than ``fill`` allows fails the request.
    """

    __slots__ = ("_body", "_left", "_limit", "curl", "date")

    def __init__(self, target: Target) -> None:
        self.curl = pycurl.Curl()
        self.date = ""
        """The ``Date`` header of the answer; empty if it has none."""
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
            (pycurl.HEADERFUNCTION, self._take_header),
            (pycurl.WRITEFUNCTION, self._take),
        ):
            self.curl.setopt(option, value)

    def sign(self, headers: Sequence[str], access_key: str | None, secret_key: str | None) -> None:
        """Set the headers and keys of all requests until the next ``sign``."""
        self.curl.setopt(pycurl.HTTPHEADER, headers)
        self.curl.setopt(pycurl.USERNAME, access_key)
        self.curl.setopt(pycurl.PASSWORD, secret_key)

    def fill(self, body: str, limit: int) -> None:
        """Set the body of the next request, whose answer may have ``limit`` bytes."""
        self.curl.setopt(pycurl.POSTFIELDS, body)
        self._body.clear()
        self.date = ""
        self._limit = self._left = limit

    def perform(self) -> str:
        """Send the request and block. Returns why no answer came; empty if one did."""
        try:
            self.curl.perform()
        except pycurl.error as error:
            return self.why(str(error.args[-1]))
        return ""

    def why(self, failure: str) -> str:
        """Why no answer came: the answer was too long, else libcurl's ``failure``."""
        return f"an answer of over {self._limit} bytes" if self._left < 0 else failure

    def _take(self, chunk: bytes) -> int | None:
        """Called by libcurl with a chunk of the body. Returning 0 ends the request."""
        self._left -= len(chunk)
        if self._left < 0:
            return 0
        self._body.append(chunk)
        return None

    def _take_header(self, line: bytes) -> None:
        """Called by libcurl with each header line, also of a proxy's and interim answers."""
        if line[:5].lower() == b"date:":
            self.date = line[5:].strip().decode("latin-1")
        elif line[:5] == b"HTTP/":
            self.date = ""

    def answered(self) -> tuple[int, bytes]:
        """Status and body of the answer."""
        return self.curl.getinfo(pycurl.RESPONSE_CODE), b"".join(self._body)


class Multi:
    """The calls that are open. One thread owns it; other threads may call only ``wake``.

    At most ``connections`` + 1 connections stay open for later calls. ``timeout`` is the time-out
    in seconds that the ``Target`` of every handle has.
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

    def begin(self, handle: Handle, whom: Any) -> None:
        """Start the call that ``handle`` is set up for; ``ended`` returns ``whom``."""
        self._waiting[handle.curl] = whom, time.monotonic() + self._timeout + GRACE
        self._multi.add_handle(handle.curl)

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
    mask = 0
    if events & select.EPOLLIN:
        mask |= pycurl.CSELECT_IN
    if events & select.EPOLLOUT:
        mask |= pycurl.CSELECT_OUT
    return mask | (pycurl.CSELECT_ERR if events & ~(select.EPOLLIN | select.EPOLLOUT) else 0)

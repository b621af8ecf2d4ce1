"""Calls of SWF by libcurl, which signs them itself: a tenth of the CPU that boto3's client takes.

Region, endpoint, credentials, proxies and authorities are still boto3's to find (``aws``). Polls
that the service holds all wait on one thread, in one epoll; a thousand of them cost no CPU. Answers
are sent by whoever asks, each thread on a connection of its own.
"""

import json
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.request import getproxies, proxy_bypass

import pycurl
from botocore.exceptions import BotoCoreError

from bridge import __version__
from bridge.aws import ANSWER_TIMEOUT, CONNECT_TIMEOUT, error_for, make_client
from bridge.errors import Unavailable

log = logging.getLogger(__name__)

TARGET = "SimpleWorkflowService"
CONTENT_TYPE = "application/x-amz-json-1.0"
RENEW = 5.0
"""Seconds between two looks for credentials while there are none."""
GRACE = 10.0
"""Seconds beyond its time-out after which a poll is not waited for any more."""


class Impossible(Exception):
    """The AWS configuration asks for something that only boto3's client can do."""


class Curl:
    """Calls by PycURL. Raises ConfigError as boto3 does, and Impossible."""

    def __init__(self, *, polls: int, read_timeout: float) -> None:
        client = make_client()
        config = client.meta.config
        for asked, what in (
            (config.signature_version != "v4", f"signature version {config.signature_version}"),
            (config.client_cert, "a client certificate"),
            (config.proxies_config, "settings of a proxy"),
        ):
            if asked:
                raise Impossible(f"{what} is for boto3's client alone")
        self._url: str = client.meta.endpoint_url
        self._sign = f"aws:amz:{client.meta.region_name}:{client.meta.service_model.signing_name}"
        self._verify: bool | str = client._endpoint.http_session._verify
        self._proxy = _proxy_for(self._url)
        self._timeout = {True: read_timeout, False: ANSWER_TIMEOUT}
        self._credentials = _Credentials(client)
        self._own = threading.local()
        self._polls = _Polls(polls)
        self._idle: deque[Any] = deque()

    def __repr__(self) -> str:
        return f"<Curl to {self._url}>"

    def call(
        self, operation: str, fields: Mapping[str, Any], *, held: bool = False
    ) -> Mapping[str, Any]:
        """As ``aws.Caller`` promises."""
        body = json.dumps(fields, separators=(",", ":")).encode("ascii")
        handle = self._handle(held)
        answer = BytesIO()
        try:
            self._prepare(handle, operation, body, answer, held)
            if held:
                self._polls.perform(handle, self._timeout[True] + GRACE)
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
        handle.setopt(pycurl.URL, self._url)
        handle.setopt(pycurl.POST, 1)
        handle.setopt(pycurl.AWS_SIGV4, self._sign)
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.TCP_KEEPALIVE, 1)
        handle.setopt(pycurl.CONNECTTIMEOUT_MS, int(CONNECT_TIMEOUT * 1000))
        handle.setopt(pycurl.TIMEOUT_MS, int(self._timeout[held] * 1000))
        handle.setopt(pycurl.PROXY, self._proxy)
        if self._verify is False:
            handle.setopt(pycurl.SSL_VERIFYPEER, 0)
            handle.setopt(pycurl.SSL_VERIFYHOST, 0)
        elif isinstance(self._verify, str):
            handle.setopt(pycurl.CAINFO, self._verify)
        return handle

    def _prepare(
        self, handle: Any, operation: str, body: bytes, answer: BytesIO, held: bool
    ) -> None:
        key, secret, token = self._credentials.get()
        headers = [
            f"Content-Type: {CONTENT_TYPE}",
            f"X-Amz-Target: {TARGET}.{operation}",
            f"User-Agent: swf-bridge/{__version__} {pycurl.version.split()[0]}",
            "Accept:",
            "Expect:",
        ]
        if token:
            headers.append(f"X-Amz-Security-Token: {token}")
        handle.setopt(pycurl.HTTPHEADER, headers)
        handle.setopt(pycurl.USERNAME, key)
        handle.setopt(pycurl.PASSWORD, secret)
        handle.setopt(pycurl.POSTFIELDS, body)
        handle.setopt(pycurl.WRITEDATA, answer)


class _Credentials:
    """The session's credentials: botocore refreshes them; looked for while there are none."""

    def __init__(self, client: Any) -> None:
        self._lock = threading.Lock()
        self._found = client._request_signer._credentials
        self._looked_at = time.monotonic()

    def get(self) -> tuple[str, str, str | None]:
        """Key, secret and session token for one call. Raises Unavailable."""
        if self._found is None:
            self._look()
        try:
            frozen = self._found.get_frozen_credentials()
        except BotoCoreError as error:
            raise Unavailable(type(error).__name__, str(error)) from None
        return frozen.access_key, frozen.secret_key, frozen.token

    def _look(self) -> None:
        with self._lock:
            if self._found is None and time.monotonic() - self._looked_at > RENEW:
                self._looked_at = time.monotonic()
                self._found = make_client()._request_signer._credentials
        if self._found is None:
            raise Unavailable("NoCredentialsError", "Unable to locate credentials")


class _Polls:
    """One thread on which every held call waits, while the thread that calls sleeps."""

    def __init__(self, polls: int) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, polls + 1)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._known: set[int] = set()
        self._deadline: float | None = None
        self._new: deque[Any] = deque()
        self._waiting: dict[Any, _Waiter] = {}
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def perform(self, handle: Any, timeout: float) -> None:
        """As ``handle.perform``. Raises pycurl.error."""
        waiter = self._waiting[handle] = _Waiter()
        self._new.append(handle)
        self._ensure_running()
        os.eventfd_write(self._wake, 1)
        if not waiter.answered.acquire(timeout=timeout):
            raise pycurl.error(pycurl.E_OPERATION_TIMEDOUT, "the poll was not answered in time")
        if waiter.error is not None:
            raise pycurl.error(*waiter.error)

    def _ensure_running(self) -> None:
        with self._start:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="swf-polls", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            for fd, events in self._epoll.poll(self._timeout()):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                else:
                    self._multi.socket_action(fd, _to_curl(events))
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._deadline = None
                self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            while self._new:
                self._multi.add_handle(self._new.popleft())
            self._finish()

    def _timeout(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _on_timer(self, milliseconds: int) -> None:
        self._deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _on_socket(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        if what == pycurl.POLL_REMOVE:
            self._known.discard(fd)
            self._epoll.unregister(fd)
        elif fd in self._known:
            self._epoll.modify(fd, _to_epoll(what))
        else:
            self._known.add(fd)
            self._epoll.register(fd, _to_epoll(what))

    def _finish(self) -> None:
        _, succeeded, failed = self._multi.info_read()
        for handle in succeeded:
            self._done(handle, None)
        for handle, number, text in failed:
            self._done(handle, (number, text))

    def _done(self, handle: Any, error: tuple[int, str] | None) -> None:
        self._multi.remove_handle(handle)
        waiter = self._waiting.pop(handle)
        waiter.error = error
        waiter.answered.release()


class _Waiter:
    """Who waits for a held call: a bare lock, for it costs nothing while it waits."""

    __slots__ = ("answered", "error")

    def __init__(self) -> None:
        self.answered = threading.Lock()
        self.answered.acquire()
        self.error: tuple[int, str] | None = None


def _to_epoll(what: int) -> int:
    return {
        pycurl.POLL_IN: select.EPOLLIN,
        pycurl.POLL_OUT: select.EPOLLOUT,
        pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
    }.get(what, 0)


def _to_curl(events: int) -> int:
    mask = 0
    if events & select.EPOLLIN:
        mask |= pycurl.CSELECT_IN
    if events & select.EPOLLOUT:
        mask |= pycurl.CSELECT_OUT
    return mask | (pycurl.CSELECT_ERR if events & ~(select.EPOLLIN | select.EPOLLOUT) else 0)


def _proxy_for(url: str) -> str:
    """The proxy that the environment names for ``url``, as botocore has it; else none."""
    scheme, _, rest = url.partition("://")
    if proxy_bypass(rest.partition("/")[0]):
        return ""
    return getproxies().get(scheme, "")


def _decoded(status: int, body: bytes) -> Mapping[str, Any]:
    """The answer. Raises the error that it tells, and Unavailable for what SWF did not write."""
    try:
        answer = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Unavailable("GarbledAnswer" if status < 300 else str(status), "no JSON object")
    if status == 200:
        return answer
    code = str(answer.get("__type", "")).rpartition("#")[2] or str(status)
    raise error_for(code, status, str(answer.get("message") or answer.get("Message") or ""))

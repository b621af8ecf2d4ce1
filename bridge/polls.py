"""Held calls of libcurl: all wait on one thread in one epoll, so that a thousand cost no CPU.

libcurl's own ``perform`` wakes every second for each. Here the thread that calls sleeps on a lock.
"""

import logging
import os
import select
import threading
import time
from collections import deque
from typing import Any

import pycurl

log = logging.getLogger(__name__)

GRACE = 5.0
"""Seconds beyond a call's own time-out after which it is not waited for any more."""


class Polls:
    """Where held calls wait. Safe to use from many threads, not over a fork.

    Its thread begins with the first call. Where something unforeseen ends it, whoever waits is
    told, and the next call begins a new one.
    """

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._lock = threading.Lock()
        self._loop: _Loop | None = None

    def perform(self, handle: Any, timeout: float) -> None:
        """As ``handle.perform``, whose own time-out is ``timeout`` seconds. Raises pycurl.error."""
        waiter = _Waiter(handle)
        with self._lock:
            if self._loop is None or not self._loop.take(waiter):
                self._loop = _Loop(self._connections)
                self._loop.take(waiter)
        if not waiter.answered.acquire(timeout=timeout + GRACE):
            raise pycurl.error(pycurl.E_OPERATION_TIMEDOUT, "the poll was not answered in time")
        if waiter.error is not None:
            raise pycurl.error(*waiter.error)


class _Waiter:
    """Who waits for a held call: a bare lock, for it costs nothing while it waits."""

    __slots__ = ("answered", "error", "handle")

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.answered = threading.Lock()
        self.answered.acquire()
        self.error: tuple[int, str] | None = None


class _Loop:
    """One life of the thread; nobody else touches what libcurl does."""

    def __init__(self, connections: int) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections + 1)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._deadline: float | None = None
        self._waiting: dict[Any, _Waiter] = {}
        self._lock = threading.Lock()
        self._new: deque[_Waiter] | None = deque()
        threading.Thread(target=self._run, name="swf-polls", daemon=True).start()

    def take(self, waiter: _Waiter) -> bool:
        """Begin the waiter's call; False where this life is over."""
        with self._lock:
            if self._new is None:
                return False
            self._new.append(waiter)
            os.eventfd_write(self._wake, 1)
            return True

    def _run(self) -> None:
        try:
            while True:
                self._turn()
        except Exception as error:
            log.exception("swf.polls_failed")
            self._end((pycurl.E_FAILED_INIT, f"the polls' thread failed: {type(error).__name__}"))

    def _turn(self) -> None:
        for fd, events in self._epoll.poll(self._timeout()):
            if fd == self._wake:
                os.eventfd_read(self._wake)
                self._begin()
            else:
                self._multi.socket_action(fd, _to_curl(events))
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._finish()

    def _begin(self) -> None:
        while self._new:
            waiter = self._new.popleft()
            self._waiting[waiter.handle] = waiter
            self._multi.add_handle(waiter.handle)

    def _finish(self) -> None:
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            for handle in succeeded:
                self._answer(handle, None)
            for handle, number, text in failed:
                self._answer(handle, (number, text))

    def _answer(self, handle: Any, error: tuple[int, str] | None) -> None:
        self._multi.remove_handle(handle)
        waiter = self._waiting.pop(handle)
        waiter.error = error
        waiter.answered.release()

    def _end(self, error: tuple[int, str]) -> None:
        """Tell everybody, and leave nothing behind."""
        with self._lock:
            left, self._new = [*self._waiting.values(), *(self._new or ())], None
        self._multi.close()
        self._epoll.close()
        os.close(self._wake)
        for waiter in left:
            waiter.error = error
            waiter.answered.release()

    def _timeout(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _on_timer(self, milliseconds: int) -> None:
        self._deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _on_socket(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        # A socket may be closed, and its number be another's, before libcurl says so: the kernel
        # has forgotten it then, whatever was known of it here.
        if what == pycurl.POLL_REMOVE:
            self._forget(fd)
            return
        try:
            self._epoll.modify(fd, _to_epoll(what))
        except FileNotFoundError:
            self._epoll.register(fd, _to_epoll(what))

    def _forget(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except OSError:
            log.debug("swf.socket_gone", extra={"fd": fd})


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

"""Accepts connections and serves each on its own thread: the base of both servers of the daemon.

The control socket and the status server differ only in address and protocol. ``socketserver`` also
starts a thread for each connection, but it neither limits their number, nor closes connections that
send nothing, nor stops without polling.
"""

import contextlib
import logging
import selectors
import socket
import threading
import time
from abc import ABC, abstractmethod

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two checks for connections past their deadline."""
PAUSE = 1.0
"""Seconds before the next accept after one has failed, for example without a free descriptor."""


class Client:
    """An accepted connection. Only its own thread reads and writes ``socket``."""

    def __init__(self, accepted: socket.socket, request_timeout: float) -> None:
        now = time.monotonic()
        self.socket = accepted
        self.deadline = now + request_timeout
        """Monotonic seconds after which the connection is shut down."""
        self.kept_until = now
        """Monotonic seconds until which no newer connection may take its place."""

    def asked(self, *, kept_for: float = float("inf"), timeout: float = float("inf")) -> None:
        """Note a complete request: keep the place ``kept_for`` s, shut down after ``timeout`` s."""
        now = time.monotonic()
        self.kept_until = now + kept_for
        self.deadline = now + timeout

    def shut_down(self) -> None:
        """Shut the socket down: its thread reads end of stream. Any thread may call this."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Listener(ABC):
    """The loop of a server that serves ``most`` connections at once.

    At the limit, a new connection replaces the oldest one whose ``kept_until`` has passed, so
    connections that send nothing cannot keep others out. If there is none, the new connection is
    sent ``busy`` and closed.
    """

    def __init__(self, name: str, *, most: int, request_timeout: float, busy: bytes = b"") -> None:
        self.moved = time.monotonic()
        """Monotonic seconds of the loop's last round. The watchdog does not look at the servers."""
        self._name = name
        self._most = most
        self.request_timeout = request_timeout
        """Seconds after the accept in which the whole request must arrive."""
        self._busy = busy
        self._lock = threading.Lock()
        self._clients: dict[Client, None] = {}  # in order of arrival
        self._stopping = threading.Event()
        self._wakes, self._waker = socket.socketpair()
        self._waker.setblocking(False)

    @abstractmethod
    def serve(self, client: Client) -> None:
        """Read one request and answer it, on the client's thread. May raise OSError."""

    def _is_reachable(self) -> bool:
        """Whether clients can still find the address; checked about once a second."""
        return True

    def _stop_listening(self) -> None:
        """Make ``_listen`` return without waiting for open connections. Never blocks."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def _close(self) -> None:
        self._wakes.close()
        self._waker.close()

    def _listen(self, listener: socket.socket) -> None:
        """Accept and serve until ``_stop_listening`` or until clients cannot reach ``listener``.

        Closes ``listener`` at the end.
        """
        listener.setblocking(False)
        with listener, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(self._wakes, selectors.EVENT_READ)
            while not self._stopping.is_set() and self._is_reachable():
                self.moved = time.monotonic()
                selector.select(TICK)
                self._shut_down_overdue()
                if not self._stopping.is_set():
                    self._accept(listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, ConnectionError):  # the client has left
            return
        except OSError as error:
            extra = {"server": self._name, "error": str(error)}
            log.warning("listener.failing", extra=extra)
            self._stopping.wait(PAUSE)
            return
        accepted.setblocking(True)
        client = Client(accepted, self.request_timeout)
        if not self._admit(client):
            with accepted, contextlib.suppress(OSError):
                accepted.setblocking(False)
                accepted.send(self._busy)
            return
        thread = threading.Thread(
            target=self._live, args=(client,), name=f"{self._name}-client", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # no thread can be started
            self._forget(client)
            accepted.close()

    def _admit(self, client: Client) -> bool:
        """Whether the client gets a place; an older connection may be shut down for it."""
        older = None
        with self._lock:
            if len(self._clients) >= self._most:
                now = time.monotonic()
                older = next((each for each in self._clients if each.kept_until <= now), None)
                if older is None:
                    return False
                del self._clients[older]
            self._clients[client] = None
        if older is not None:
            older.shut_down()
        return True

    def _live(self, client: Client) -> None:
        try:
            with client.socket, contextlib.suppress(OSError):
                self.serve(client)
        except Exception:
            log.exception(f"{self._name}.failed")  # noqa: G004
        finally:
            self._forget(client)

    def _forget(self, client: Client) -> None:
        with self._lock:
            self._clients.pop(client, None)

    def _shut_down_overdue(self) -> None:
        now = time.monotonic()
        with self._lock:
            overdue = [each for each in self._clients if each.deadline < now]
        for client in overdue:
            client.shut_down()

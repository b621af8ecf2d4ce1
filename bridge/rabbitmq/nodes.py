"""RabbitMQ's nodes: addresses, tried in rounds; a limit on connections; a frozen node's silence."""

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bridge.telemetry.redact import register_secret

_DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class Address:
    """One address of one URL."""

    url: str
    ip: str = ""
    """One of several IP addresses of the host; empty if the host has one, or none is known."""

    @property
    def shown(self) -> str:
        """Host and port, and the IP address if the host has several; without the login."""
        netloc = urlsplit(self.url).netloc.rpartition("@")[2]
        return f"{netloc} [{self.ip}]" if self.ip else netloc


class Addresses:
    """Chooses the address to connect to next. Owned by one thread.

    A host name with several IP addresses counts as several addresses. A name is looked up when its
    turn comes, anew in every round: a failing lookup may take many seconds, and addresses before it
    must not wait for that. ``urls`` are iterated before each try; if they have changed, a new round
    begins.
    """

    def __init__(
        self, urls: Iterable[str], look_up: Callable[..., list[Any]] = socket.getaddrinfo
    ) -> None:
        self._source = urls
        self._urls: tuple[str, ...] = ()
        self._look_up = look_up
        self._tried: list[Address] = []
        self._left: deque[Address | str] = deque()
        """The rest of the round: addresses, and URLs whose names are not looked up yet."""

    @property
    def tried_all(self) -> bool:
        """Whether every address of the round has been tried."""
        return not self._left

    def next(self) -> Address:
        """Return the next address to try; begin a new round if none is left."""
        urls = tuple(self._source)
        if not self._left or urls != self._urls:
            for each in urls:
                register_secret(each)
            self._urls = urls
            self._tried = []
            self._left.clear()
            self._left.extend(urls)
        address = self._left.popleft()
        if isinstance(address, str):
            address, *others = self._resolved(address)
            self._left.extendleft(reversed(others))
        self._tried.append(address)
        return address

    def settled(self) -> None:
        """Note that the last address works. Once it is lost, the others are tried first."""
        self._left.extend(self._tried[:-1])
        self._tried = self._tried[-1:]

    def _resolved(self, url: str) -> list[Address]:
        """One address for each IP address of a URL's host; the URL alone if there are not two."""
        parts = urlsplit(url)
        try:
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
            found = self._look_up(parts.hostname, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):  # the attempt to connect will fail with the reason
            return [Address(url)]
        ips = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if len(ips) < 2:
            return [Address(url)]
        return [Address(url, ip) for ip in ips]


class ConnectionLimit:
    """A limit of RabbitMQ's on connections. Any thread may use it.

    While it keeps out a connection that is needed, the others close and wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept_out: set[str] = set()

    @property
    def keeps_out(self) -> str:
        """The names of the needed connections that it keeps out; empty if it keeps out none."""
        with self._lock:
            return " and ".join(sorted(self._kept_out))

    def note(self, connection: str, *, kept_out: bool) -> None:
        """Note what became of the last attempt of a needed connection."""
        with self._lock:
            (self._kept_out.add if kept_out else self._kept_out.discard)(connection)


SILENCE = 10
"""Ticks (one a second) without a byte from RabbitMQ after which the connection is given up; its
heartbeats come every four seconds. Ticks, because a paused process loses seconds but no ticks."""


class Silence:
    """Counts the ticks without a byte in one life of a connection; ``most`` are borne."""

    def __init__(self) -> None:
        self.most = SILENCE
        self.restart()

    def restart(self) -> None:
        """Begin with a new connection."""
        self._received = 0
        self._ticks = 0

    def tick(self, received: int) -> TimeoutError | None:
        """Count a tick, given the total bytes received; the error once RabbitMQ is too silent."""
        self._ticks = self._ticks + 1 if received == self._received else 0
        self._received = received
        if self._ticks <= self.most:
            return None
        return TimeoutError(f"RabbitMQ has been silent for {self.most} seconds")

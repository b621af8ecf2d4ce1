"""The addresses of RabbitMQ's nodes, each of which is tried once a round."""

import socket
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
    """The host's address; empty where it is not known."""

    @property
    def shown(self) -> str:
        """The host and its port, and the address where the host has several; without a login."""
        netloc = urlsplit(self.url).netloc.rpartition("@")[2]
        return f"{netloc} [{self.ip}]" if self.ip else netloc


class Addresses:
    """What to connect to next. Owned by one thread.

    A host name with several addresses is as several URLs. A round tries each once. A name is
    looked up when its turn comes, and anew in every round: one that is looked up in vain may take
    many seconds, and the others must not wait for it. ``urls`` are iterated before each try:
    others begin a round.
    """

    def __init__(
        self, urls: Iterable[str], look_up: Callable[..., list[Any]] = socket.getaddrinfo
    ) -> None:
        self._source = urls
        self._urls: tuple[str, ...] = ()
        self._look_up = look_up
        self._tried: list[Address] = []
        self._left: deque[Address | str] = deque()
        """Addresses, and URLs whose names have not been looked up yet."""

    @property
    def tried_all(self) -> bool:
        """Whether no address of the round is left to be tried."""
        return not self._left

    def next(self) -> Address:
        """The next address to try; begins a round where none is left of the one before."""
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
        """The last address serves well: once it is lost, each of the others is to be tried."""
        self._left.extend(self._tried[:-1])
        self._tried = self._tried[-1:]

    def _resolved(self, url: str) -> list[Address]:
        """The addresses behind a URL; the URL itself where the name has one, or none is known."""
        parts = urlsplit(url)
        try:
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
            found = self._look_up(parts.hostname, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):  # it is tried all the same, and says what is wrong
            return [Address(url)]
        ips = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if len(ips) < 2:
            return [Address(url)]
        return [Address(url, ip) for ip in ips]

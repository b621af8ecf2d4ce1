"""A minimal HTTP/1.1 server protocol: requests with Content-Length on persistent connections.

http.server parses headers as e-mail, which costs more than the rest of a call. This reader only
splits the lines at their colons. Each answer is one write; asyncio sets TCP_NODELAY.
"""

import asyncio
import select
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

MAX_HEAD = 65_536  # bytes
MAX_BODY = 64 * 1024 * 1024  # bytes
JSON_1_0 = "application/x-amz-json-1.0"


class Request(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    target: str
    body: bytes
    headers: Mapping[str, str]
    """By lower-case name."""


class Reply:
    """The answer to one request. Call one of `send`, `cut` and `half`, once."""

    def __init__(self, connection: "Connection", *, keep: bool) -> None:
        self.spoiled: str | None = None
        self.on_lost: Callable[[], None] | None = None
        self._connection = connection
        self._keep = keep

    def alive(self) -> bool:
        """Whether the client has neither closed nor half-closed its connection."""
        return self._connection.alive()

    def send(self, status: int, body: bytes, content_type: str = JSON_1_0) -> None:
        """Send an answer, then read the next request unless the client asked to close."""
        head = _head(status, content_type, len(body), keep=self._keep)
        self._connection.answered(head + body, keep=self._keep)

    def cut(self) -> None:
        """Close the connection without an answer."""
        self._connection.answered(b"", keep=False)

    def half(self, status: int, body: bytes) -> None:
        """Announce the whole body's length, send half of it and close the connection."""
        body = body or b"{}"
        head = _head(status, JSON_1_0, len(body), keep=True)
        self._connection.answered(head + body[: len(body) // 2], keep=False)


class Connection(asyncio.Protocol):
    """Reads requests one at a time and calls `serve` with each and its Reply."""

    def __init__(self, serve: Callable[[Request, Reply], None], members: "set[Connection]") -> None:
        self._serve = serve
        self._members = members
        self._transport: asyncio.Transport | None = None
        self._probe = select.poll()
        self._buffer = bytearray()
        self._pending: Reply | None = None
        self._continued = False
        self._reading = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection and its socket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._members.add(self)
        self._probe.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)

    def connection_lost(self, exc: Exception | None) -> None:
        """Call `on_lost` of the unanswered Reply, if any."""
        del exc
        self._transport = None
        self._members.discard(self)
        pending, self._pending = self._pending, None
        if pending is not None and pending.on_lost is not None:
            pending.on_lost()

    def data_received(self, data: bytes) -> None:
        """Buffer the bytes and serve each complete request."""
        self._buffer += data
        self._read()

    def alive(self) -> bool:
        """Whether the socket is open in both directions, by polling the socket itself."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._probe.poll(0)

    def close(self) -> None:
        """Close the connection at once, without flushing."""
        if self._transport is not None:
            self._transport.abort()

    def answered(self, data: bytes, *, keep: bool) -> None:
        """Write an answer; then read the next request, or close."""
        self._pending = None
        if self._transport is None:
            return
        if data:
            self._transport.write(data)
        if keep:
            self._read()
        else:
            self._transport.close()

    def _read(self) -> None:
        if self._reading:
            return
        self._reading = True
        try:
            while self._pending is None and self._buffer and self._transport is not None:
                if self._transport.is_closing() or not self._read_one():
                    return
        finally:
            self._reading = False

    def _read_one(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                self._refuse(431)
            return False
        line, *fields = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
        length = headers.get("content-length", "0")
        is_number = length.isascii() and length.isdigit() and len(length) < 16
        if "transfer-encoding" in headers or not is_number or int(length) > MAX_BODY:
            self._refuse(411 if "transfer-encoding" in headers else 413)
            return False
        stop = end + 4 + int(length)
        if len(self._buffer) < stop:
            self._continue(headers)
            return False
        body = bytes(self._buffer[end + 4 : stop])
        del self._buffer[:stop]
        self._continued = False
        method, _, rest = line.partition(" ")
        path, _, version = rest.partition(" ")
        keep = version != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
        self._pending = reply = Reply(self, keep=keep)
        target = headers.get("x-amz-target", "")
        self._serve(Request(method, path, target, body, headers), reply)
        return True

    def _continue(self, headers: dict[str, str]) -> None:
        wants = headers.get("expect", "").lower() == "100-continue"
        if wants and not self._continued and self._transport is not None:
            self._continued = True
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, status: int) -> None:
        self.answered(_head(status, "text/plain", 0, keep=False), keep=False)


_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_date: tuple[int, str] = (0, "")


def _head(status: int, content_type: str, length: int, *, keep: bool) -> bytes:
    return (
        f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {length}\r\nDate: {_now()}\r\n"
        f"{'' if keep else 'Connection: close' + chr(13) + chr(10)}\r\n"
    ).encode("latin-1")


def _now() -> str:
    global _date  # noqa: PLW0603 - cached for one second, for every connection of the loop
    second = int(time.time())
    if second != _date[0]:
        _date = (second, time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second)))
    return _date[1]

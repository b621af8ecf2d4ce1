"""Servers on a bare socket, for what no well-behaved server does, and to see what was sent."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, NamedTuple, Self


class Sent(NamedTuple):
    """One request as it came over the wire."""

    connection: int
    line: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Sent], bytes | None]
"""What is written in answer to a request; None closes the connection."""


def http(body: bytes = b"{}", status: int = 200) -> bytes:
    """An answer that keeps the connection."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


class Recorder:
    """Takes requests, each connection on a thread of its own, and answers as it is told."""

    def __init__(self, answer: Answer = lambda sent: http(), tls: ssl.SSLContext | None = None):
        self.answer = answer
        self.sent: list[Sent] = []
        self.connections = 0
        self._tls = tls
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close every connection, as a server does to those that were idle for long."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(
                    target=self._serve, args=(plain, self.connections), daemon=True
                ).start()

    def _serve(self, plain: socket.socket, number: int) -> None:
        with suppress(OSError, EOFError), self._wrapped(plain) as peer:
            self._open.append(peer)
            with peer.makefile("rb") as file:
                while True:
                    sent = read_request(file, number)
                    self.sent.append(sent)
                    answer = self.answer(sent)
                    if answer is None:
                        return
                    peer.sendall(answer)

    def _wrapped(self, plain: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(plain, server_side=True) if self._tls else plain


class Proxy(Recorder):
    """A proxy that knows CONNECT alone; ``sent`` is what it was asked."""

    def _serve(self, plain: socket.socket, number: int) -> None:
        with suppress(OSError, EOFError), plain:
            self._open.append(plain)
            with plain.makefile("rb", buffering=0) as file:
                sent = read_request(file, number)
            self.sent.append(sent)
            method, where, _ = sent.line.split()
            if method != "CONNECT":
                plain.sendall(self.answer(sent) or b"")
                return
            host, _, port = where.rpartition(":")
            with socket.create_connection((host.replace("localhost", "127.0.0.1"), port)) as far:
                plain.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                threading.Thread(target=_pipe, args=(far, plain), daemon=True).start()
                _pipe(plain, far)


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def read_request(file: BinaryIO, number: int) -> Sent:
    line = _line(file)
    headers = {}
    while field := _line(file):
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", 0))
    return Sent(number, line, headers, file.read(length) if length else b"")


def _line(file: BinaryIO) -> str:
    line: bytes = file.readline()
    if not line:
        raise EOFError
    return line.decode("latin-1").rstrip("\r\n")

"""A lying endpoint: it passes SWF's calls on, but for those that it was told to answer itself."""

import http.client
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import urlsplit

Lie = Callable[[BinaryIO], None]
"""Writes a whole HTTP answer, or one that never ends."""


class Liar(ThreadingHTTPServer):
    """`with Liar(endpoint, port) as liar:`; `liar.lie("PollForActivityTask", b"list", answer)`."""

    daemon_threads = True

    def __init__(self, endpoint: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Call)
        self.real = urlsplit(endpoint).netloc
        self.lies: list[tuple[str, bytes, Lie]] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    def lie(self, operation: str, words: bytes, answer: Lie) -> None:
        """Answer such a call, whose body holds the words, in this way from now on."""
        self.lies.append((operation, words, answer))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lies.clear()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """The daemon may hang up at any point."""


class _Call(BaseHTTPRequestHandler):
    server: Liar
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each body would wait 40 ms for its head's acknowledgement

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        for told, words, answer in self.server.lies:
            if told == operation and words in body:
                self.close_connection = True
                with suppress(OSError):
                    answer(self.wfile)
                return
        self._pass_on(body)

    def _pass_on(self, body: bytes) -> None:
        real = http.client.HTTPConnection(self.server.real, timeout=90)
        try:
            real.request("POST", self.path, body, dict(self.headers))
            answer = real.getresponse()
            data = answer.read()
        finally:
            real.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass

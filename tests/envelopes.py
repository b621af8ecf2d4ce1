"""A Sentry on loopback that keeps the envelopes it is sent."""

import gzip
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self


class Sentry(ThreadingHTTPServer):
    """Takes envelopes as Sentry's own endpoint does; `with Sentry() as sentry:`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.envelopes: list[list[Any]] = []
        self.dsn = f"http://public@127.0.0.1:{self.server_port}/42"
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """The daemon may be killed while it sends."""

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(self._items("event"))

    @property
    def transactions(self) -> list[dict[str, Any]]:
        return list(self._items("transaction"))

    @property
    def text(self) -> str:
        """Everything that came, to be searched for what must not be there."""
        return json.dumps(self.envelopes, ensure_ascii=False)

    def _items(self, kind: str) -> Iterator[dict[str, Any]]:
        for _, *rest in list(self.envelopes):
            for head, body in zip(rest[::2], rest[1::2], strict=True):
                if head["type"] == kind:
                    yield body


class _Endpoint(BaseHTTPRequestHandler):
    server: Sentry

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        self.server.envelopes.append([json.loads(line) for line in data.splitlines() if line])
        right = self.path == "/api/42/envelope/"
        self.send_response(200 if right else 404)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        pass

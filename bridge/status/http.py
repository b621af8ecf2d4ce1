"""The status server: ``/livez``, ``/readyz``, ``/metrics`` and a page at ``/``, over HTTP.

It is read-only, shows no secret, and listens on loopback by default. It checks the ``Host`` header,
so that no web page can read it by DNS rebinding.
"""

import ipaddress
import json
import logging
import socket
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from threading import Event
from time import monotonic
from typing import Any, Protocol
from urllib.parse import urlsplit

from bridge.status import page
from bridge.status.diagnosis.checks import Check, row
from bridge.status.prometheus import render
from bridge.telemetry.outage import Outage
from bridge.telemetry.redact import redact
from bridge.telemetry.registry import Metrics
from bridge.threads.listener import Client, Listener

log = logging.getLogger(__name__)

CONNECTIONS = 16
"""Connections served at once."""
BACKLOG = 64
"""Connections that the kernel queues before they are accepted."""
ANSWER_TIME = 2.0
"""Seconds after a request in which no newer connection may take its place."""
REQUEST_TIMEOUT = 10.0
"""Seconds in which a request must arrive, and again in which it must be answered."""
BIND_INTERVAL = 30.0
"""Seconds between tries to listen on an address that is in use."""
PATIENCE = 90.0
"""Seconds without a round after which the loop counts as stuck; a DNS look-up may take long."""

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html; charset=utf-8"
NO_SUCH_HOST = "no such host here; SWF_BRIDGE_HTTP_NAMES allows further names\n"
NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"


class Facts(Protocol):
    """The source of the answers. Each method runs on the thread of a request and must not block."""

    def livez(self) -> Sequence[Check]:
        """The checks of ``/livez``: whether every thread still runs."""

    def readyz(self) -> Sequence[Check]:
        """The checks of ``/readyz``: whether tasks can be polled, published and answered."""

    def metrics(self) -> Metrics:
        """The registry of all metrics."""

    def snapshot(self) -> Mapping[str, Any]:
        """The snapshot of ``bridge/status/snapshot.py``, for the page."""


class StatusServer(Listener):
    """A part of the daemon: serves ``facts`` on ``address``.

    If it cannot listen on ``address``, it logs a warning and tries again. ``run`` survives any
    other exception as well, so that a fault in the status server never stops the bridge.
    """

    name = "status"

    def __init__(
        self,
        address: tuple[str, int],
        facts: Facts,
        *,
        allowed: Sequence[str] = (),
        request_timeout: float = REQUEST_TIMEOUT,
        bind_interval: float = BIND_INTERVAL,
    ) -> None:
        super().__init__("status", most=CONNECTIONS, request_timeout=request_timeout)
        self.listening = Event()
        self.address: tuple[str, int] = (address[0], address[1])  # the real port while listening
        self.patience = PATIENCE
        self.facts = facts
        self.names: frozenset[str] = frozenset()
        """The accepted names in a ``Host`` header."""
        self._allowed = allowed
        self._bind_interval = bind_interval
        where = f"{address[0]}:{address[1]}"
        self._outage = Outage(log, "status.unavailable", "status.available", address=where)

    def run(self) -> None:
        """Serve until asked to stop."""
        while not self._stopping.is_set():
            self.moved = monotonic()
            try:
                self._listen_there()
            except Exception as error:
                if not isinstance(error, OSError):
                    log.exception("status.failed", extra={"path": ""})
                self._outage.begin(error)
                self._stopping.wait(self._bind_interval)
            finally:
                self.listening.clear()
        self._close()

    def _listen_there(self) -> None:
        """Serve until asked to stop. Raises OSError if it cannot listen on the address."""
        listener = _bind(self.address)
        self._outage.end()
        self.names = _names(self.address[0]).union(self._allowed)
        self.address = listener.getsockname()[:2]
        log.info("status.listening", extra={"address": "{}:{}".format(*self.address)})
        self.listening.set()
        self._listen(listener)

    def stop(self) -> None:
        """Make ``run`` return without waiting for open requests. Never blocks."""
        self._stop_listening()

    def serve(self, client: Client) -> None:
        """Implement ``Listener.serve``."""
        client.socket.settimeout(self.request_timeout)
        _Request(client, self)


def _bind(address: tuple[str, int]) -> socket.socket:
    """Listen on ``address``. Raises OSError."""
    (family, *_, found), *_ = socket.getaddrinfo(
        *address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class _Request(BaseHTTPRequestHandler):
    """One request: answers it and closes the connection."""

    server_version = "swf-bridge"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def __init__(self, client: Client, server: StatusServer) -> None:
        self._client = client
        self._server = server
        # The base class only stores the client address and the server for subclasses.
        super().__init__(client.socket, None, None)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer a GET, or a HEAD on behalf of ``do_HEAD``."""
        self._client.asked(kept_for=ANSWER_TIME, timeout=self._server.request_timeout)
        pages = {
            "/": self._page,
            "/livez": lambda: self._checks(self._server.facts.livez()),
            "/readyz": lambda: self._checks(self._server.facts.readyz()),
            "/metrics": self._metrics,
        }
        answer = pages.get(self.path.partition("?")[0])
        if not _is_ours(self.headers.get("Host"), self._server.names):
            self._send(HTTPStatus.MISDIRECTED_REQUEST, TEXT, NO_SUCH_HOST)
        elif answer is None:
            self._send(HTTPStatus.NOT_FOUND, TEXT, f"there are {' '.join(pages)}\n")
        else:
            self._tell(answer)

    def do_HEAD(self) -> None:
        """Answer as GET would, without the body."""
        self.do_GET()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a malformed request, or another method: 405 instead of http.server's 501."""
        del message, explain  # both quote the request
        self.request_version = self.protocol_version  # else http.server omits the status line
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._send(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n", Allow="GET, HEAD")
        else:
            self._send(HTTPStatus(code), TEXT, f"{HTTPStatus(code).phrase}\n")

    def _tell(self, ask: Any) -> None:
        try:
            answer = ask()
        except Exception:
            log.exception("status.failed", extra={"path": self.path})
            answer = HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, "this failed; the log tells why\n"
        self._send(*answer)

    def _checks(self, checks: Sequence[Check]) -> tuple[HTTPStatus, str, str]:
        told = {
            "ok": all(check.ok for check in checks),
            "checks": {check.name: row(check, redact(check.detail)) for check in checks},
        }
        status = HTTPStatus.OK if told["ok"] else HTTPStatus.SERVICE_UNAVAILABLE
        return status, JSON, json.dumps(told, indent=2) + "\n"

    def _metrics(self) -> tuple[HTTPStatus, str, str]:
        return HTTPStatus.OK, *render(self._server.facts.metrics(), self.headers.get("Accept", ""))

    def _page(self) -> tuple[HTTPStatus, str, str]:
        return HTTPStatus.OK, HTML, page.render(self._server.facts.snapshot())

    def _send(self, status: HTTPStatus, kind: str, text: str, **headers: str) -> None:
        body = text.encode("utf-8", "replace")
        self.close_connection = True
        self.send_response(status)
        headers |= {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
        headers |= {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        headers["Content-Security-Policy"] = page.POLICY if kind == HTML else NO_CONTENT
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log a request at level DEBUG."""
        log.debug("status.requested", extra={"line": format % args})


def _names(host: str) -> frozenset[str]:
    """The accepted names in a ``Host`` header while the server listens on ``host``.

    The full name of this machine needs a DNS look-up, so it is left out on loopback.
    """
    names = {"localhost", host, socket.gethostname()}
    if host not in {"localhost", "127.0.0.1", "::1"}:
        names.add(socket.getfqdn())
    return frozenset(name.casefold().rstrip(".") for name in names)


def _is_ours(host: str | None, names: frozenset[str]) -> bool:
    """Whether a ``Host`` header is accepted. Any IP address is: only a name can be rebound."""
    if host is None:
        return True  # every browser sends it
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

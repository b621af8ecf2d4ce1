"""LocalSwf: the HTTP server in its own thread, and its admin methods for the same process."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Self

from bridge.local.api.front import Front
from bridge.local.api.wire import Connection
from bridge.local.control import Control, ControlError, Json
from bridge.local.swf.options import Options

BACKLOG = 4096


class LocalSwf(Control):
    """An SWF on loopback for tests and worker authors: `with LocalSwf() as swf: ...`.

    One thread runs an event loop for all connections and alone uses the state, so a held poll costs
    a socket and no thread. The state is in memory and ends with the process.
    Signatures are not checked and any credentials are accepted: bind it to loopback only.

    `options` are those of bridge.local.swf.options.Options; `domains` are registered at the start.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        domains: tuple[str, ...] = ("demo",),
        **options: Any,
    ) -> None:
        self._host = host
        self._port = port
        self._domains = domains
        self._options = Options()
        self._options.update(options)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._front: Front | None = None

    @property
    def endpoint(self) -> str:
        """The URL for AWS_ENDPOINT_URL_SWF; with port 0 it is valid only after `start()`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> Self:
        """Bind the address and serve in a new thread. Raises OSError if it cannot be bound."""
        loop = asyncio.new_event_loop()
        front = Front(loop, self._options)
        for name in self._domains:
            front.swf.registry.add_domain(name)
        try:
            server = loop.run_until_complete(
                loop.create_server(
                    lambda: Connection(front.serve, self._connections),
                    self._host,
                    self._port,
                    backlog=BACKLOG,
                )
            )
        except OSError:
            loop.close()
            raise
        self._server = server
        self._port = server.sockets[0].getsockname()[1]
        self._loop, self._front = loop, front
        self._thread = threading.Thread(target=loop.run_forever, name="local-swf", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close every connection and end the thread. May be called twice."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = None
        loop.call_soon_threadsafe(self._close, loop)
        thread.join()
        loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, verb: str, body: Mapping[str, Any], timeout: float = 30.0) -> Json:
        """Carry out one verb of the admin interface on the server's thread."""
        wanted = {k: v for k, v in body.items() if v is not None}
        answer: Future[tuple[int, Json]] = Future()

        def run() -> None:
            assert self._front is not None
            self._front.admin.run(verb, wanted, lambda *given: answer.set_result(given))

        if self._loop is None:
            raise RuntimeError("the local SWF is not running")
        self._loop.call_soon_threadsafe(_guarded(run, answer))
        status, given = answer.result(timeout)
        if status != 200:
            raise ControlError(given["error"])
        return given

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.close()
        loop.call_soon(loop.stop)


def _guarded(run: Callable[[], None], answer: "Future[tuple[int, Json]]") -> Callable[[], None]:
    """Wrap `run`: an exception becomes the exception of the future `answer`."""

    def guarded() -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            answer.set_exception(error)

    return guarded

"""The control socket: commands ask the daemon, which alone opens journal and credentials.

The protocol is JSON lines over a Unix socket of mode 0600. A client sends one request,
``{"command": "tasks list", …}``. The server sends any number of ``{"row": …}`` and
``{"progress": …}``, then one ``{"result": …}`` or ``{"error": code, "message": sentence}``.
Each client has a thread of its own, at most CLIENTS of them. A client that disconnects, hangs or
sends garbage affects only its own thread.
"""

import contextlib
import json
import logging
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bridge.control.request import Json, Output, Request
from bridge.errors import ConfigError, Declined, Unavailable
from bridge.telemetry.outage import Outage
from bridge.telemetry.redact import redact
from bridge.threads.listener import TICK, Client, Listener

log = logging.getLogger(__name__)

CLIENTS = 8
"""Clients served at once; a further client replaces one without a request, else gets ``busy``."""
REQUEST_LIMIT = 1024 * 1024
"""Bytes of a request, enough for about thirty thousand ids."""
REQUEST_TIMEOUT = 10.0
"""Seconds after the accept in which the whole request must arrive."""
SEND_TIMEOUT = 30.0
"""Seconds in which a client must read a line of the answer."""
PROBE_TIMEOUT = 1.0
"""Seconds for a connect that tells whether a process listens on an existing socket."""
PATIENCE = 60.0
"""Seconds without a round after which the loop counts as stuck."""
_UCRED = struct.Struct("iII")
"""The kernel's ``struct ucred``: pid, uid, gid."""

Command = Callable[[Request], Output]
"""Runs one command for one client. Raises Declined and Unavailable."""


class ControlServer(Listener):
    """A part of the daemon. It listens on the socket at ``path`` from its construction on.

    The socket of a killed daemon is replaced. If the file is removed while this runs, it is made
    again within about two seconds. Raises ConfigError where another daemon listens at ``path`` or
    no socket can be made.
    """

    def __init__(
        self,
        path: Path,
        commands: Mapping[str, Command],
        *,
        request_timeout: float = REQUEST_TIMEOUT,
        send_timeout: float = SEND_TIMEOUT,
    ) -> None:
        busy = _line(_error("busy", f"{CLIENTS} commands are being served"))
        super().__init__("control", most=CLIENTS, request_timeout=request_timeout, busy=busy)
        self.name = "control"
        self.patience = PATIENCE
        self.path = path
        self._commands = commands
        self._send_timeout = send_timeout
        self._listener = _listen(path)
        self._inode = os.stat(path).st_ino
        self._making = threading.Lock()
        """Held while the socket is made again, so that ``stop`` leaves no file behind."""
        self._outage = Outage(log, "control.lost", "control.back", path=str(path))

    def __repr__(self) -> str:
        return f"<ControlServer {self.path}>"

    def run(self) -> None:
        """Serve until asked to stop; does not wait for running commands."""
        try:
            while not self._stopping.is_set():
                self._listen(self._listener)
                self._make_again()
        finally:
            self._close()

    def stop(self) -> None:
        """Accept no more commands, and remove the socket unless another process replaced it."""
        with self._making:
            if self._stopping.is_set():
                return
            self._stop_listening()
            with contextlib.suppress(OSError):
                if os.stat(self.path).st_ino == self._inode:
                    self.path.unlink()

    def _is_reachable(self) -> bool:
        return os.path.lexists(self.path)

    def _make_again(self) -> None:
        """Make the socket again after its file was removed, trying once a second until stopped."""
        while not self._stopping.is_set():
            self.moved = time.monotonic()
            self._outage.begin("the socket was removed")
            with self._making, contextlib.suppress(ConfigError, OSError):
                if not self._stopping.is_set():
                    self._listener = _listen(self.path)
                    self._inode = os.stat(self.path).st_ino
                    self._outage.end()
                    return
            self._stopping.wait(TICK)

    def serve(self, client: Client) -> None:
        """Implement ``Listener.serve``."""
        line = _read_line(client.socket, self.request_timeout)
        client.asked()
        client.socket.settimeout(self._send_timeout)
        with contextlib.closing(self._answers(line, _uid(client.socket))) as answers:
            for answer in answers:
                client.socket.sendall(_line(answer))

    def _answers(self, line: bytes, uid: int) -> Output:
        try:
            request = Request.decode(line, uid)
            command = request.text("command")
            if command not in self._commands:
                raise Declined("usage", "no such command")
            log.log(
                logging.DEBUG if command == "status" else logging.INFO,
                "command.asked",
                extra={"command": command, "uid": uid},
            )
            yield from self._commands[command](request)
        except Declined as error:
            yield _error(error.code, str(error))
        except Unavailable as error:
            yield _error("unavailable", str(error))
        except Exception:
            log.exception("command.failed")
            yield _error("failed", "the daemon failed over this; its log tells why")


def _uid(client: socket.socket) -> int:
    """The user id of the client's process (SO_PEERCRED, unix(7))."""
    told = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, _ = _UCRED.unpack(told)
    return int(uid)


def _error(code: str, message: str) -> Json:
    return {"error": code, "message": redact(message)}


def _line(answer: Json) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def _read_line(client: socket.socket, timeout: float) -> bytes:
    """Read the request. Raises OSError if it is incomplete, late or over REQUEST_LIMIT."""
    deadline = time.monotonic() + timeout
    received = bytearray()
    while b"\n" not in received:
        client.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = client.recv(65536)
        if not chunk or len(received) > REQUEST_LIMIT:
            raise ConnectionAbortedError("no request")
        received += chunk
    return bytes(received)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        _take_stale_away(path)
        # Before bind, so that the file has this mode from its creation on.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fspath(path))
        listener.listen(CLIENTS)
    except OSError as error:
        listener.close()
        sentence = f"SWF_BRIDGE_CONTROL: cannot listen on {path}: {error.strerror}"
        raise ConfigError([sentence]) from None
    except ConfigError:
        listener.close()
        raise
    return listener


def _take_stale_away(path: Path) -> None:
    """Remove a socket on which no process listens. Raises ConfigError for any other file."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError([f"SWF_BRIDGE_CONTROL: {path} is there and is no socket"])
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_TIMEOUT)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except TimeoutError:
            pass  # a process listens, and is busy
    raise ConfigError([f"SWF_BRIDGE_CONTROL: another daemon answers at {path}"])

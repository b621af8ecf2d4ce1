"""The service's side of sd_notify(3): READY, STOPPING, STATUS, WATCHDOG over $NOTIFY_SOCKET."""

import os
import socket
from collections.abc import MutableMapping

from bridge.telemetry.logs import printable
from bridge.telemetry.redact import redact

SEND_TIMEOUT = 1.0
"""Seconds for which a notification may wait for a manager that does not read its socket."""
STATUS_LONGEST = 1000
"""Characters of a status that are sent: systemd reads no more than 4,096 bytes of a message."""


class Notifier:
    """Tells the service manager what the daemon is at; does nothing where there is none.

    No method raises: a manager that cannot be told is no reason to stop.

    The manager ends a service that has not called ``watchdog`` for ``watchdog_seconds``, which is
    None where it does not watch this process: call it at less than half of that.
    """

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        """Kept: without a descriptor for a new one the manager would take the daemon for hung."""
        self.watchdog_seconds = watchdog_seconds

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> "Notifier":
        """Take $NOTIFY_SOCKET and $WATCHDOG_… out of ``environ``: they are not for our children."""
        address = environ.pop("NOTIFY_SOCKET", "")
        seconds = _watchdog(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        return cls(address or None, seconds)

    def __repr__(self) -> str:
        return f"<Notifier {self._address or 'off'}>"

    def ready(self) -> None:
        """Say that the start is over."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Say that the drain has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``; it holds what peers say, as a log line does."""
        line = printable(" ".join(redact(text).split()))
        self._send(f"STATUS={line[:STATUS_LONGEST]}")

    def watchdog(self) -> None:
        """Say that every thread has moved within its own deadline: never call this from a timer."""
        self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> None:
        """Ask for so many seconds from now before a start or stop counts as hung."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def _send(self, state: str) -> None:
        if self._address is None:
            return
        # "@" stands for the NUL byte that begins the name of an abstract socket (unix(7)).
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            if self._socket is None:
                self._socket = socket.socket(
                    socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
                )
                self._socket.settimeout(SEND_TIMEOUT)
            self._socket.sendto(state.encode("utf-8", "replace"), address)
        except Exception:  # noqa: BLE001 - of whatever kind: it is only told
            return


def _watchdog(usec: str, pid: str) -> float | None:
    """Read sd_watchdog_enabled(3)'s variables; a $WATCHDOG_PID of another process means: not us."""
    if not usec.isdecimal() or int(usec) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None
    return int(usec) / 1e6

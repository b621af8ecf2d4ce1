"""Client of sd_notify(3): sends READY, STOPPING, STATUS and WATCHDOG to $NOTIFY_SOCKET."""

import os
import socket
from collections.abc import MutableMapping

from bridge.telemetry.logs import printable
from bridge.telemetry.redact import redact

SEND_TIMEOUT = 1.0
"""Seconds for which a send may block if systemd does not read its socket."""
STATUS_LONGEST = 1000
"""Characters of a status that are sent: at 4 bytes each they fit systemd's limit of 4,096."""


class Notifier:
    """Reports the daemon's state to the service manager; does nothing if there is none.

    No method raises: the daemon goes on if systemd cannot be reached.

    systemd ends a service that has not called ``watchdog`` for ``watchdog_seconds``: call it
    more than twice in that time. None means that systemd does not watch this process.
    """

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        """Kept open: without a free descriptor for a new one, the watchdog would end the daemon."""
        self.watchdog_seconds = watchdog_seconds

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> "Notifier":
        """Read and remove $NOTIFY_SOCKET and $WATCHDOG_…: child processes must not get them."""
        address = environ.pop("NOTIFY_SOCKET", "")
        seconds = _watchdog(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        return cls(address or None, seconds)

    def __repr__(self) -> str:
        return f"<Notifier {self._address or 'off'}>"

    def ready(self) -> None:
        """Report that the start is complete."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Report that the drain has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``, redacted, as it may quote peers."""
        line = printable(" ".join(redact(text).split()))
        self._send(f"STATUS={line[:STATUS_LONGEST]}")

    def watchdog(self) -> None:
        """Report that every thread has moved within its deadline: never call this from a timer."""
        self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> None:
        """Ask systemd to allow the start or stop ``seconds`` from now before it times out."""
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
        except Exception:  # noqa: BLE001 - a notification must never stop the daemon
            return


def _watchdog(usec: str, pid: str) -> float | None:
    """The watchdog's seconds (sd_watchdog_enabled(3)); None if unset or for another process."""
    if not usec.isdecimal() or int(usec) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None
    return int(usec) / 1e6

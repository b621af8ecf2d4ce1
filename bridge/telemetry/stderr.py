"""Standard error as the sink of the log, written by a thread of its own, so that no other waits.

A reader that stands still (a container's runtime, a log shipper, a terminal after Ctrl-S) lets the
pipe fill; whoever writes then is blocked. Here that is one thread which does nothing else.
"""

import logging
import os
import select
import sys
import threading
from queue import SimpleQueue

log = logging.getLogger(__name__)

KEPT = 1024 * 1024
"""Bytes of lines that wait for the reader; beyond, lines are dropped. Warnings and what is graver
have twice as much."""
FLUSH_TIMEOUT = 2.0
"""Seconds for which the end of the process waits for the reader."""


class Stderr(logging.Handler):
    """Hands each line to the thread that writes it, by one write, in the order in which they came.

    ``emit`` never blocks and never raises. Lines that find no room, or that standard error does
    not take, are counted in ``dropped``, and told in a line, ``log.dropped``, once it flows again.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            self.fd = sys.stderr.fileno()
        except (AttributeError, OSError, ValueError):  # started with standard error closed
            self.fd = -1
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        # The queue may be put to from a finaliser that runs in the midst of another put; a lock of
        # our own might not. Each number has one writer: emit, under the handler's lock, or the
        # thread.
        self._lines: SimpleQueue[bytes | threading.Event | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._put = self._written = 0
        self._crowded_out = self._not_taken = self._told = 0

    @property
    def dropped(self) -> int:
        """Lines that were dropped since the start."""
        return self._crowded_out + self._not_taken

    def emit(self, record: logging.LogRecord) -> None:
        """Have the record written soon, or dropped where too much waits already."""
        if self.fd < 0:
            return
        try:
            line = self._line(record)
            room = KEPT if record.levelno < logging.WARNING else 2 * KEPT
            if self._put - self._written + len(line) > room:
                self._crowded_out += 1
                return
            self._put += len(line)
            if self._thread is None:
                self._start()
            self._lines.put(line)
        except Exception:  # noqa: BLE001 — a log that cannot be written is no reason to stop
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all is written, but no longer than FLUSH_TIMEOUT."""
        if self._thread is not None:
            written = threading.Event()
            self._lines.put(written)
            written.wait(FLUSH_TIMEOUT)

    def close(self) -> None:
        """End the thread, once it has written what waits."""
        self._lines.put(None)
        super().close()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._write_on, name="log", daemon=True)
        self._thread.start()

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    # --- on the thread ---

    def _write_on(self) -> None:
        while (line := self._lines.get()) is not None:
            if isinstance(line, threading.Event):
                self._tell()
                line.set()
                continue
            taken = self._write(line)
            self._written += len(line)
            if not taken:
                self._not_taken += 1
            elif self.dropped != self._told and self._put - self._written < KEPT // 2:
                self._tell()

    def _write(self, line: bytes) -> bool:
        """Whether standard error took it, waited for as long as it takes."""
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self.fd, left) :]
            except BlockingIOError:  # another process has made the stream so that it does not wait
                self._wait()
            except OSError:
                return False
        return True

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        poll.poll()

    def _tell(self) -> None:
        dropped = self.dropped
        if (count := dropped - self._told) == 0:
            return
        self._told = dropped
        # Not logged as others are: who ends the process has the handler's lock and waits for us.
        record = log.makeRecord(
            log.name, logging.WARNING, "", 0, "log.dropped", (), None, extra={"count": count}
        )
        self._write(self._line(record))

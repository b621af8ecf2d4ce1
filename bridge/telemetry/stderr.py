"""A log handler that writes to standard error from its own thread, so that no other thread blocks.

If a reader stops (a container runtime, a log shipper, a terminal after Ctrl-S), the pipe fills and
writes block. Here only this one thread blocks, and it does nothing else.
"""

import logging
import os
import select
import sys
import threading
from queue import SimpleQueue

log = logging.getLogger(__name__)

KEPT = 1024 * 1024
"""Bytes of lines that may wait for the reader before lines are dropped. Lines from WARNING up may
use twice as much."""
FLUSH_TIMEOUT = 2.0
"""Seconds for which ``flush``, called at the end of the process, waits for the reader."""


class Stderr(logging.Handler):
    """Queues lines for the thread that writes them in order, each with one write if possible.

    ``emit`` never blocks or raises. Lines without room, or that standard error does not take, are
    counted in ``dropped``. Once the reader goes on, a line ``log.dropped`` tells their number.
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
        # SimpleQueue.put is reentrant: a finaliser may log during another put, where a lock of our
        # own could deadlock. So each counter has one writer: emit, under the handler's lock, or the
        # thread.
        self._lines: SimpleQueue[bytes | threading.Event | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._put = self._written = 0
        self._crowded_out = self._not_taken = self._told = 0

    @property
    def dropped(self) -> int:
        """The number of lines dropped since the start."""
        return self._crowded_out + self._not_taken

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record to be written; drop it if the queue is full (KEPT)."""
        if self.fd < 0:
            return
        try:
            line = self._line(record)
            room = KEPT if record.levelno < logging.WARNING else 2 * KEPT
            if self._put - self._written + len(line) > room:
                self._crowded_out += 1
                return
            if self._thread is None:
                self._start()
            self._put += len(line)
            self._lines.put(line)
        except Exception:  # noqa: BLE001 — a failed log call must not stop the caller
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all lines are written, for FLUSH_TIMEOUT seconds at most."""
        if self._thread is not None:
            written = threading.Event()
            self._lines.put(written)
            written.wait(FLUSH_TIMEOUT)

    def close(self) -> None:
        """End the thread once it has written all queued lines."""
        self._lines.put(None)
        super().close()

    def _start(self) -> None:
        thread = threading.Thread(target=self._write_on, name="log", daemon=True)
        thread.start()  # if none can be started, the next line tries again
        self._thread = thread

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
        """Write the line, blocking without a limit; False if standard error is broken."""
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self.fd, left) :]
            except BlockingIOError:  # another process made the shared stream non-blocking
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
        # Written directly: at exit another thread holds the handler's lock and waits for this one.
        record = log.makeRecord(
            log.name, logging.WARNING, "", 0, "log.dropped", (), None, extra={"count": count}
        )
        self._write(self._line(record))

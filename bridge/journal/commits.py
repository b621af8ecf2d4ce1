"""How changes get to the disk: writers commit in groups, and what the disk does not take waits.

Whoever holds the lock writes for all who wait. ``synchronous`` is NORMAL: a commit is with the
operating system when it returns, which survives any death of the process. A loss of power may take
the last commits; it corrupts nothing.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bridge.errors import PartFailed
from bridge.journal.file import JournalFile
from bridge.journal.schema import Write

log = logging.getLogger(__name__)


class Commits:
    """The changes of one journal, in order. Safe to use from any thread.

    A change is committed when ``add`` returns, or with all others that a thread makes ``together``.
    Where the disk does not take it, it stays in memory, ``writable`` is cleared, and ``flush``
    writes it as soon as it can. ``written`` is called under the ``lock`` for each that was.
    """

    def __init__(
        self,
        file: JournalFile,
        *,
        written: Callable[[Write], object],
        observe: Callable[[float], object],
    ) -> None:
        self.lock = threading.Lock()
        """Held over each use of the file."""
        self.writable = threading.Event()
        self.waiting: deque[Write] = deque()
        self._file = file
        self._written = written
        self.observe = observe
        self._own = threading.local()

    def read(self, query: str, *values: object) -> list[Any]:
        """The rows. Raises PartFailed where they cannot be read."""
        with self.lock:
            return self._file.read(query, *values)

    def add(self, write: Write, *, at_once: bool = False) -> None:
        """Write one change, together with all that wait."""
        self.waiting.append(write)
        if not at_once and getattr(self._own, "together", False):
            self._own.last = write
        else:
            self._write(write)

    @contextmanager
    def together(self) -> Iterator[None]:
        """One commit, at the end, for what this thread adds inside; also where that raises."""
        own = self._own
        own.last = None
        own.together = True
        try:
            yield
        finally:
            own.together = False
            if own.last is not None:
                self._write(own.last)

    def look(self) -> None:
        """See whether the file is where it was: else it is not ``writable`` until ``flush``."""
        if self.writable.is_set() and (gone := self._file.gone()):
            self._lost(gone)

    def is_there(self) -> bool:
        """Whether the file is where it was, or could be made anew with all that is in it."""
        with self.lock:
            gone = self._file.gone()
            return not gone or self._made_anew(gone)

    def flush(self, writes: Iterable[Write]) -> None:
        """Try to write these and all that wait."""
        self.waiting.extend(writes)
        with self.lock:
            if self.waiting:
                self._write_all()

    def close(self) -> None:
        """Give the file up."""
        with self.lock:
            self._file.close()

    def _made_anew(self, gone: str) -> bool:
        """Whether the file could be written anew, with all that is in hand. Under the lock."""
        self._lost(gone)
        try:
            self._file.make_anew()
        except OSError as error:
            extra = {"path": str(self._file.path), "error": str(error)}
            log.debug("journal.not_made_anew", extra=extra)
            return False
        if not self.waiting:
            self._back()
        return True

    def _write(self, last: Write) -> None:
        """Write all that waits up to this; while the disk takes nothing, only ``flush`` tries."""
        with self.lock:
            if not last.done and self.writable.is_set():
                self._write_all()

    def _write_all(self) -> None:
        """One transaction for all that wait now; they stay where it fails. Under the lock."""
        writes = list(self.waiting)
        started = time.monotonic()
        try:
            self._file.write(writes)
        except OSError as error:
            self._lost(error)
            return
        except PartFailed as error:
            self._lost(error)
            raise
        for write in writes:
            write.done = True
            self.waiting.popleft()
            self._written(write)
        self.observe(time.monotonic() - started)
        self._back()

    def _lost(self, error: object) -> None:
        if self.writable.is_set():
            self.writable.clear()
            log.critical("journal.lost", extra={"path": str(self._file.path), "error": str(error)})

    def _back(self) -> None:
        if not self.writable.is_set():
            self.writable.set()
            log.warning("journal.back", extra={"path": str(self._file.path)})

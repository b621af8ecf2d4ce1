"""Commits changes to the journal's file in groups; changes wait in memory while the disk fails.

The thread that holds the lock also writes the changes of waiting threads. ``synchronous`` is
NORMAL: a commit returns once the operating system has the data, which then survives any death of
the process. A loss of power may undo the last commits; it corrupts nothing.
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

    A change is committed when ``add`` returns; inside ``together``, when the block ends. A change
    that cannot be written stays in memory, ``writable`` is cleared, and a later ``flush`` writes
    the change. ``written`` is called under the ``lock`` for each change that was committed.
    """

    def __init__(
        self,
        file: JournalFile,
        *,
        written: Callable[[Write], object],
        observe: Callable[[float], object],
    ) -> None:
        self.lock = threading.Lock()
        """Held during every read and write of the file; ``gone`` and ``size`` do not need it."""
        self.writable = threading.Event()
        self.error = ""
        """Why the file could not be written the last time that ``writable`` was cleared."""
        self.waiting: deque[Write] = deque()
        self._file = file
        self._written = written
        self.observe = observe
        self._own = threading.local()

    def read(self, query: str, *values: object) -> list[Any]:
        """Return the rows of a query. Raises PartFailed if the file cannot be read."""
        with self.lock:
            return self._file.read(query, *values)

    def add(
        self, statement: str, *values: object, task_id: str = "", at_once: bool = False
    ) -> None:
        """Commit a change and all waiting ones; with ``at_once``, inside ``together`` too."""
        write = Write(statement, (values,), task_id)
        self.waiting.append(write)
        if not at_once and getattr(self._own, "together", False):
            self._own.last = write
        else:
            self._write(write)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commit this thread's changes in the block at its end, even if the block raises."""
        own = self._own
        own.last = None
        own.afterwards = {}
        own.together = True
        try:
            yield
        finally:
            own.together = False
            try:
                if own.last is not None:
                    self._write(own.last)
            finally:
                for action in own.afterwards:
                    action()

    def afterwards(self, action: Callable[[], object]) -> None:
        """Call the action now, or inside ``together`` once, after the commit."""
        if getattr(self._own, "together", False):
            self._own.afterwards[action] = None
        else:
            action()

    def look(self) -> None:
        """Clear ``writable`` until a ``flush`` succeeds if the file was removed or replaced."""
        if self.writable.is_set() and (gone := self._file.gone()):
            self._lost(gone)

    def is_there(self) -> bool:
        """Whether the file stands at its path, or could be written there again."""
        with self.lock:
            if gone := self._file.gone(thorough=True):
                return self._made_anew(gone)
            if not self.waiting:  # it was moved away and back before anything had to be written
                self._back()
            return True

    def flush(self, writes: Iterable[Write]) -> None:
        """Try to write the waiting changes, then ``writes``, in one transaction."""
        self.waiting.extend(writes)
        with self.lock:
            if self.waiting:
                self._write_all()

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self._file.close()

    def _made_anew(self, gone: str) -> bool:
        """Write the file's content to its path again; False if that fails. Hold the lock."""
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
        """Write the waiting changes, unless ``last`` is done or the disk fails (see ``flush``)."""
        with self.lock:
            if not last.done and self.writable.is_set():
                self._write_all()

    def _write_all(self) -> None:
        """Write all waiting changes in one transaction; keep them if it fails. Hold the lock."""
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
            self.error = str(error)
            self.writable.clear()
            log.critical("journal.lost", extra={"path": str(self._file.path), "error": self.error})

    def _back(self) -> None:
        if not self.writable.is_set():
            self.writable.set()
            log.warning("journal.back", extra={"path": str(self._file.path)})

"""The journal's SQLite file: locked for one process, read and written, and made anew where it goes.

Only this module and ``opening`` call SQLite. Its errors are translated into ours.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge.errors import ConfigError, PartFailed
from bridge.journal.opening import FLAGS, connect, files_of, open_database, rename_aside, unusable
from bridge.journal.owner import check_owner
from bridge.journal.schema import Write

log = logging.getLogger(__name__)


class JournalFile:
    """The file, locked by this process until ``close``. Use it from one thread at a time.

    Raises ConfigError for an unusable path, for a file that is a link or belongs to another user,
    and for a newer version; PartFailed if the disk fails or another process holds the lock for more
    than ``lock_timeout`` seconds.

    If the file is removed, moved or replaced, SQLite goes on writing to the open one and the next
    start would find nothing. ``gone`` detects this and ``make_anew`` writes the content back.
    """

    def __init__(self, path: Path, lock_timeout: float) -> None:
        self.path = path
        check_owner((*files_of(path), _lock_name(path)))
        self._lock = _lock_file(path, lock_timeout)
        try:
            self._db = open_database(path)
            self._known = _identities(path)
        except BaseException:
            os.close(self._lock)
            raise

    def read(self, query: str, *values: object) -> list[Any]:
        """Return the rows of a query. Raises PartFailed if the file cannot be read."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise PartFailed(f"cannot read the journal {self.path}: {error}") from None

    def write(self, writes: Sequence[Write]) -> None:
        """Execute all ``writes`` in one transaction; write nothing if it raises.

        Raises OSError if the disk fails (a later try may succeed), PartFailed if the file is
        damaged.
        """
        alone = len(writes) == 1 and len(writes[0].rows) == 1  # a statement is a transaction
        try:
            if not alone:
                self._db.execute("BEGIN IMMEDIATE")
            for write in writes:
                for row in write.rows:
                    self._db.execute(write.statement, row)
            if not alone:
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise OSError(str(error)) from None
            raise PartFailed(f"the journal {self.path} is damaged: {error}") from None

    def gone(self) -> str:
        """Name a file that was removed or replaced; empty if none was. Reads no data."""
        for file, known in self._known.items():
            try:
                found = _identity(os.stat(file))
            except (FileNotFoundError, NotADirectoryError):
                return f"{file} was removed"
            except OSError:  # no proof that the file is gone
                continue
            if found != known:
                return f"{file} was replaced"
        return ""

    def make_anew(self) -> None:
        """Copy the open file to the path and go on with the copy. Raises OSError.

        A foreign file at the path is renamed aside. A missing folder is created.
        """
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            self._lock_anew()
            copy = self._copy()
            if _identity_of(self.path) not in (None, self._known[self.path]):
                rename_aside(self.path, "replaced")
            for stale in files_of(self.path):
                stale.unlink(missing_ok=True)
            copy.rename(self.path)
            try:
                db, known = connect(self.path), _identities(self.path)
            except BaseException:
                self.path.unlink(missing_ok=True)
                raise
        except (sqlite3.Error, PartFailed, ConfigError) as error:
            raise OSError(str(error)) from None
        self._db.close()  # SQLite notices that the path has another file, and spares its WAL
        self._db, self._known = db, known

    def _lock_anew(self) -> None:
        """Lock a new lock file if ours was replaced. Raises PartFailed if that is locked."""
        name = _lock_name(self.path)
        if _identity_of(name) != _identity(os.fstat(self._lock)):
            lock = _lock_file(self.path, 0.0)
            os.close(self._lock)
            self._lock = lock
            self._known[name] = _identity(os.fstat(lock))

    def _copy(self) -> Path:
        """Copy all committed data to a file beside the path."""
        copy = self.path.with_name(self.path.name + ".new")
        copy.unlink(missing_ok=True)
        os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as db:
            self._db.backup(db)
            db.execute("PRAGMA journal_mode = DELETE")  # so that it is one file
        return copy

    def size(self) -> int:
        """Bytes on disk, including the write-ahead log."""
        return sum(each.stat().st_size for each in files_of(self.path) if each.exists())

    def close(self) -> None:
        """Close the database and release the lock."""
        self._db.close()
        os.close(self._lock)


def _lock_name(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


Identity = tuple[int, int]


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino


def _identity_of(file: Path) -> Identity | None:
    """The device and inode of a file; None if it cannot be examined."""
    try:
        return _identity(os.stat(file))
    except OSError:
        return None


def _identities(path: Path) -> dict[Path, Identity]:
    """The files that must not be replaced while the journal is open, with their identities."""
    found = ((each, _identity_of(each)) for each in (*files_of(path), _lock_name(path)))
    return {each: identity for each, identity in found if identity is not None}


def _lock_file(path: Path, timeout: float) -> int:
    """Lock a file beside the journal, which itself may be renamed aside; return the descriptor.

    Raises PartFailed if another process holds the lock for more than ``timeout`` seconds.
    """
    try:
        lock = os.open(_lock_name(path), FLAGS, 0o600)
    except OSError as error:
        raise unusable(path, error) from None
    deadline = time.monotonic() + timeout
    told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(lock)
                raise PartFailed(f"another process holds the journal {path}") from None
        if not told:
            told = True
            log.warning("journal.held", extra={"path": str(path), "seconds": timeout})
        time.sleep(min(1.0, timeout))

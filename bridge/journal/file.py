"""The journal's file: locked for one process, checked, and begun anew where it is corrupt.

SQLite is spoken to here alone, and its errors are told as ours.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge.errors import ConfigError, PartFailed
from bridge.journal.damage import check_tasks
from bridge.journal.owner import check_owner
from bridge.journal.schema import (
    APPLICATION_ID,
    FORGET_SETTLED,
    LATER_COLUMNS,
    LATER_TABLES,
    SCHEMA,
    VERSION,
    Write,
)

log = logging.getLogger(__name__)

BUSY_TIMEOUT = 5.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class JournalFile:
    """The file, held by this process until ``close``; for one thread at a time.

    Raises ConfigError for a path that cannot work, files that are another user's or links, and a
    newer version; PartFailed for a disk that does not take it and where another process holds it
    for over ``lock_timeout`` seconds.

    What is removed, moved or replaced under its name stays open here, with all that is in it, until
    ``make_anew``: SQLite would go on as if nothing had happened, and the next start find nothing.
    """

    def __init__(self, path: Path, lock_timeout: float) -> None:
        self.path = path
        check_owner((*_files(path), _lock_name(path)))
        self._lock = _lock_file(path, lock_timeout)
        try:
            self._db = _open_database(path)
            self._known = _identities(path)
        except BaseException:
            os.close(self._lock)
            raise

    def read(self, query: str, *values: object) -> list[Any]:
        """The rows. Raises PartFailed where it cannot be read."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise PartFailed(f"cannot read the journal {self.path}: {error}") from None

    def write(self, writes: Sequence[Write]) -> None:
        """All of them in one transaction.

        Nothing is written where it raises: OSError where the disk does not take it now, PartFailed
        where the file is damaged.
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
        """Which of its files is not where it was, and why; nothing while all are. Reads no data."""
        for file, known in self._known.items():
            try:
                found = _identity(os.stat(file))
            except (FileNotFoundError, NotADirectoryError):
                return f"{file} was removed"
            except OSError:  # whatever it is, it is not gone
                continue
            if found != known:
                return f"{file} was replaced"
        return ""

    def make_anew(self) -> None:
        """Write what the open file holds to a new one at the path. Raises OSError.

        What another has put there is renamed aside. A folder that is gone is made again.
        """
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            self._lock_anew()
            copy = self._copy()
            if _identity_of(self.path) not in (None, self._known[self.path]):
                _rename_aside(self.path, "replaced")
            for stale in _files(self.path):
                stale.unlink(missing_ok=True)
            copy.rename(self.path)
            try:
                db, known = _connect(self.path), _identities(self.path)
            except BaseException:
                self.path.unlink(missing_ok=True)
                raise
        except (sqlite3.Error, PartFailed, ConfigError) as error:
            raise OSError(str(error)) from None
        self._db.close()  # SQLite sees that its file is another, and leaves the new one's alone
        self._db, self._known = db, known

    def _lock_anew(self) -> None:
        """Have the lock under its name. Raises PartFailed where another process has it there."""
        name = _lock_name(self.path)
        if _identity_of(name) != _identity(os.fstat(self._lock)):
            lock = _lock_file(self.path, 0.0)
            os.close(self._lock)
            self._lock = lock
            self._known[name] = _identity(os.fstat(lock))

    def _copy(self) -> Path:
        """A copy beside the path, of all that is committed."""
        copy = self.path.with_name(self.path.name + ".new")
        copy.unlink(missing_ok=True)
        os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as db:
            self._db.backup(db)
            db.execute("PRAGMA journal_mode = DELETE")  # so that it is one file
        return copy

    def size(self) -> int:
        """Bytes on disk, with the write-ahead log."""
        return sum(each.stat().st_size for each in _files(self.path) if each.exists())

    def close(self) -> None:
        """Give it up."""
        self._db.close()
        os.close(self._lock)


def new_id() -> str:
    """The id of an instance."""
    return uuid.uuid4().hex[:12]


def _files(path: Path) -> list[Path]:
    """The journal and what SQLite keeps beside it."""
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]


def _lock_name(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


Identity = tuple[int, int]


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino


def _identity_of(file: Path) -> Identity | None:
    """Which file stands there; None where there is none."""
    try:
        return _identity(os.stat(file))
    except OSError:
        return None


def _identities(path: Path) -> dict[Path, Identity]:
    """The files that must stay where they are for as long as the journal is open."""
    found = ((each, _identity_of(each)) for each in (*_files(path), _lock_name(path)))
    return {each: identity for each, identity in found if identity is not None}


def _lock_file(path: Path, timeout: float) -> int:
    """The lock's descriptor. It is on a file of its own: the journal's may be renamed aside.

    Raises PartFailed where another process holds it for over ``timeout`` seconds.
    """
    try:
        lock = os.open(_lock_name(path), _FLAGS, 0o600)
    except OSError as error:
        raise _unusable(path, error) from None
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


def _unusable(path: Path, error: OSError) -> Exception:
    """A path that never works is a wrong setting; a disk that fails may come back."""
    sentence = f"SWF_BRIDGE_JOURNAL: cannot open {path}: {error.strerror}"
    if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
        return ConfigError([sentence])
    return PartFailed(sentence)


def _open_database(path: Path) -> sqlite3.Connection:
    """The journal at ``path``; one that is corrupt is renamed aside and a new one begun.

    Raises ConfigError for a path that cannot work or a newer version, PartFailed for a disk that
    does not take it.
    """
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise PartFailed(f"cannot open the journal {path}: {error}") from None
        aside = _rename_aside(path, "corrupt")
        extra = {"path": str(path), "aside": str(aside), "error": str(error)}
        log.critical("journal.corrupt", extra=extra)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        os.close(os.open(path, _FLAGS, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise _unusable(path, error) from None
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    try:
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except UnicodeDecodeError:  # it quotes what is wrong
        found = "damaged"
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (version or application or tables):
        raise ConfigError([f"SWF_BRIDGE_JOURNAL: {path} is a database of another program"])
    if version > VERSION:
        raise ConfigError(
            [f"SWF_BRIDGE_JOURNAL: {path} was written by a newer swf-bridge (format {version})"]
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA journal_size_limit = 16777216")
    if not version:
        db.executescript(f"BEGIN IMMEDIATE; {SCHEMA}")
        db.execute("INSERT INTO instance (id) VALUES (?)", (new_id(),))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    _complete(db)
    _check_rows(db)
    db.execute(FORGET_SETTLED)


def _check_rows(db: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError where a row is damaged that SQLite takes for whole.

    Takes 30 µs of CPU a task: three seconds of a start with 100,000.
    """
    try:
        check_tasks(db.execute("SELECT id, domain, task_list, polled_at, body FROM task"))
        names = [*db.execute("SELECT id FROM instance"), *db.execute("SELECT id FROM settled")]
        if not names or not all(isinstance(name, str) for (name,) in names):
            raise ValueError("an id")
    except (sqlite3.OperationalError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise sqlite3.DatabaseError(f"damaged: {type(error).__name__}: {error}") from None


def _complete(db: sqlite3.Connection) -> None:
    """Add what a journal of an earlier version lacks."""
    there = {name for _, name, *_ in db.execute("PRAGMA table_info(task)")}
    for column in LATER_COLUMNS:
        if column not in there:
            db.execute(f"ALTER TABLE task ADD COLUMN {column} REAL")
    db.executescript(LATER_TABLES)


def _rename_aside(path: Path, why: str) -> Path:
    aside = path.with_name(f"{path.name}.{why}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for file in _files(path):
        if file.exists():
            file.rename(file.with_name(file.name.replace(path.name, aside.name)))
    return aside

"""The journal's SQLite file: checked, read and written, and begun anew where it is damaged or gone.

No other module calls SQLite. Its errors are translated into ours.
"""

import contextlib
import logging
import os
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge.errors import ConfigError, PartFailed
from bridge.journal.entry import check_tasks
from bridge.journal.paths import (
    FLAGS,
    KnownFiles,
    check_owner,
    files_of,
    identity,
    identity_of,
    lock,
    lock_name,
    rename_aside,
    unusable,
)
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
"""Seconds for which SQLite waits for a lock that another program holds, a backup for example."""
_OF_THE_DISK = frozenset(
    (
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    )
)
"""SQLite's result codes (https://www.sqlite.org/rescode.html) that do not tell of the content."""
_WRITE_VERSION, _WAL_VERSION = 18, b"\2"
"""Where the header has what a program must know that writes to the file, and that for a WAL."""


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
        check_owner((*files_of(path), lock_name(path)))
        self._lock = lock(path, lock_timeout)
        try:
            self._db = _open(path)
            self._known = KnownFiles(path)
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

    def gone(self, *, thorough: bool = False) -> str:
        """Name a file that was removed or replaced; empty if none was. See KnownFiles."""
        return self._known.gone(thorough=thorough)

    def make_anew(self) -> None:
        """Copy the open file to the path and go on with the copy. Raises OSError.

        A foreign file at the path is renamed aside. A missing folder is created.
        """
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            self._lock_anew()
            copy = self._copy()
            if identity_of(self.path) not in (None, self._known.identities[self.path]):
                rename_aside(self.path, "replaced")
            for stale in files_of(self.path):
                stale.unlink(missing_ok=True)
            copy.rename(self.path)
            try:
                db, known = _connect(self.path), KnownFiles(self.path)
            except BaseException:
                self.path.unlink(missing_ok=True)
                raise
        except (sqlite3.Error, PartFailed, ConfigError) as error:
            raise OSError(str(error)) from None
        self._db.close()  # SQLite notices that the path has another file, and spares its WAL
        self._db, self._known = db, known

    def _lock_anew(self) -> None:
        """Lock a new lock file if ours was replaced. Raises PartFailed if that is locked."""
        name = lock_name(self.path)
        if identity_of(name) != identity(os.fstat(self._lock)):
            taken = lock(self.path, 0.0)
            os.close(self._lock)
            self._lock = taken
            self._known.identities[name] = identity(os.fstat(taken))

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


def _open(path: Path) -> sqlite3.Connection:
    """Open the journal at ``path``; rename a corrupt one aside and create a new one.

    Raises ConfigError for an unusable path, a foreign database or a newer version; PartFailed if
    the disk fails.
    """
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if not _is_damage(path, error):
            raise PartFailed(f"cannot open the journal {path}: {error}") from None
        aside = rename_aside(path, "corrupt")
        extra = {"path": str(path), "aside": str(aside), "error": str(error)}
        log.critical("journal.corrupt", extra=extra)
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        raise PartFailed(f"cannot begin the journal {path}: {error}") from None


def _connect(path: Path) -> sqlite3.Connection:
    """Open the database at ``path``, or begin one.

    Raises sqlite3.DatabaseError for a damaged file, else as ``_open`` does.
    """
    try:
        os.close(os.open(path, FLAGS, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise unusable(path, error) from None
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _is_damage(path: Path, error: sqlite3.DatabaseError) -> bool:
    """Whether an error of opening tells of what the file holds, not of the disk or of a lock.

    An unknown format number is SQLITE_ERROR, as a missing table is.
    """
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # Python's own have none
    if code == sqlite3.SQLITE_READONLY:
        with path.open("rb") as file:
            return file.read(_WRITE_VERSION + 1)[_WRITE_VERSION:] > _WAL_VERSION
    return code & 0xFF not in _OF_THE_DISK


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    try:
        (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    except UnicodeDecodeError:  # the check quotes the damaged bytes
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
    _check_shape(db)
    _check_rows(db)
    db.execute(FORGET_SETTLED)


def _complete(db: sqlite3.Connection) -> None:
    """Add the columns and tables that a journal of an earlier version lacks."""
    there = {name for _, name, *_ in db.execute("PRAGMA table_info(task)")}
    for column in LATER_COLUMNS:
        if column not in there:
            db.execute(f"ALTER TABLE task ADD COLUMN {column} REAL")
    db.executescript(LATER_TABLES)


def _check_shape(db: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError if a table, a column or a trigger of the journal is lacking."""
    with contextlib.closing(sqlite3.connect(":memory:")) as whole:
        whole.executescript(SCHEMA)
        _complete(whole)
        lacking = _shape(whole) - _shape(db)
    if lacking:
        raise sqlite3.DatabaseError(f"damaged: lacks {sorted(lacking)[0]}")


def _shape(db: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """The columns and triggers of a database, with what each must be."""
    columns = """
        SELECT m.name, c.name, c."notnull" || ' ' || c.pk
        FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'
    """
    triggers = "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'trigger'"
    return {*db.execute(columns), *db.execute(triggers)}


def _check_rows(db: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError for a damaged row that SQLite's own check accepts.

    The check takes 30 µs of CPU per task: 100,000 tasks make a start three seconds longer.
    """
    try:
        check_tasks(db.execute("SELECT id, domain, task_list, polled_at, body FROM task"))
        names = [*db.execute("SELECT id FROM instance"), *db.execute("SELECT id FROM settled")]
        if not names or not all(isinstance(name, str) for (name,) in names):
            raise ValueError("an id")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise sqlite3.DatabaseError(f"damaged: {type(error).__name__}: {error}") from None


def new_id() -> str:
    """Return a random id for an instance: 12 hex digits."""
    return uuid.uuid4().hex[:12]

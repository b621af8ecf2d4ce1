"""Opens the journal's database: checked, completed, and begun anew where its file is damaged."""

import logging
import os
import sqlite3
import time
import uuid
from contextlib import closing
from pathlib import Path

from bridge.errors import ConfigError, PartFailed
from bridge.journal.damage import check_tasks
from bridge.journal.schema import (
    APPLICATION_ID,
    FORGET_SETTLED,
    LATER_COLUMNS,
    LATER_TABLES,
    SCHEMA,
    VERSION,
)

log = logging.getLogger(__name__)

BUSY_TIMEOUT = 5.0
"""Seconds for which SQLite waits for a lock that another program holds, a backup for example."""
FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
"""To open a file of the journal: never a link."""
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
_WRITE_VERSION, _WAL_VERSION = 18, 2
"""Where the header has what a program must know that writes to the file, and that for a WAL."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the journal at ``path``; rename a corrupt one aside and create a new one.

    Raises ConfigError for an unusable path, a foreign database or a newer version; PartFailed if
    the disk fails.
    """
    try:
        return connect(path)
    except sqlite3.DatabaseError as error:
        if not _is_damage(path, error):
            raise PartFailed(f"cannot open the journal {path}: {error}") from None
        aside = rename_aside(path, "corrupt")
        extra = {"path": str(path), "aside": str(aside), "error": str(error)}
        log.critical("journal.corrupt", extra=extra)
    try:
        return connect(path)
    except sqlite3.DatabaseError as error:
        raise PartFailed(f"cannot begin the journal {path}: {error}") from None


def connect(path: Path) -> sqlite3.Connection:
    """Open the database at ``path``, or begin one.

    Raises sqlite3.DatabaseError for a damaged file, else as ``open_database`` does.
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
            return file.read(_WRITE_VERSION + 1)[-1] > _WAL_VERSION
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
    with closing(sqlite3.connect(":memory:")) as whole:
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


def rename_aside(path: Path, why: str) -> Path:
    """Rename the files of a journal to ``path.why-TIME``; return the path of the first."""
    aside = path.with_name(f"{path.name}.{why}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for file in files_of(path):
        if file.exists():
            file.rename(file.with_name(file.name.replace(path.name, aside.name)))
    return aside


def files_of(path: Path) -> list[Path]:
    """The paths of the journal, its write-ahead log and its shared memory."""
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]


def unusable(path: Path, error: OSError) -> Exception:
    """Translate an error of opening: ConfigError for a wrong path, PartFailed for the disk."""
    sentence = f"SWF_BRIDGE_JOURNAL: cannot open {path}: {error.strerror}"
    if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
        return ConfigError([sentence])
    return PartFailed(sentence)


def new_id() -> str:
    """Return a random id for an instance: 12 hex digits."""
    return uuid.uuid4().hex[:12]

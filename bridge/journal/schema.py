"""The tables of the journal, and the statements that change them. Pure data."""

from collections.abc import Sequence
from dataclasses import dataclass

APPLICATION_ID = 0x53574642  # "SWFB"
VERSION = 1
SCHEMA = """
CREATE TABLE instance (id TEXT NOT NULL);
CREATE TABLE task (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    domain TEXT NOT NULL,
    task_list TEXT NOT NULL,
    polled_at REAL NOT NULL,
    body BLOB NOT NULL,
    published INTEGER NOT NULL DEFAULT 0,
    first_word INTEGER NOT NULL DEFAULT 0,
    cancel_noticed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE settled (seq INTEGER PRIMARY KEY, id TEXT NOT NULL);
CREATE TRIGGER settle AFTER INSERT ON settled BEGIN DELETE FROM task WHERE id = NEW.id; END;
"""
LATER_COLUMNS = ("given_at", "close_by", "beat_by")
"""Columns of ``task`` that older journals lack: seconds since the epoch by SWF's clock."""
LATER_TABLES = """
CREATE TABLE IF NOT EXISTS pause (
    domain TEXT NOT NULL,
    task_list TEXT NOT NULL,
    since REAL NOT NULL,
    until REAL,
    uid INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (domain, task_list)
);
CREATE TABLE IF NOT EXISTS overridden (
    domain TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (domain, name, version)
);
"""
"""Tables that older journals lack. Older bridges ignore these and LATER_COLUMNS: same VERSION."""
SETTLED_KEPT = 20_000
"""Number of settled tasks whose ids are kept, to tell a duplicate reply from a late one."""
FORGET_SETTLED = f"DELETE FROM settled WHERE seq <= (SELECT max(seq) FROM settled) - {SETTLED_KEPT}"  # noqa: S608


@dataclass(slots=True, eq=False)
class Write:
    """A statement to be committed; it is executed once for each of the ``rows``."""

    statement: str
    rows: Sequence[tuple[object, ...]]
    task_id: str = ""
    """Set if the statement records or settles a task."""
    done: bool = False

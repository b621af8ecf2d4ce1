"""Damage that SQLite does not see: it keeps no checksums, and a changed byte of a row is a row.

What cannot be read as a task would otherwise end the daemon at every start.
"""

import sqlite3

from bridge.message import decode_task
from bridge.task import ActivityTask

_TEXTS = (
    "token",
    "activity_id",
    "workflow_id",
    "run_id",
    "name",
    "version",
    "domain",
    "task_list",
)


def check_rows(db: sqlite3.Connection) -> None:
    """Read every row as it is read later. Raises sqlite3.DatabaseError where one is damaged."""
    try:
        for task_id, domain, task_list, polled_at, body in db.execute(
            "SELECT id, domain, task_list, polled_at, body FROM task"
        ):
            task = decode_task(body, float(polled_at))
            is_whole = _is_whole(task) and (domain, task_list) == (task.domain, task.task_list)
            if task.id != task_id or not is_whole:
                raise ValueError(f"task {task_id!r:.40}")
        names = [*db.execute("SELECT id FROM instance"), *db.execute("SELECT id FROM settled")]
        if not names or not all(isinstance(name, str) for (name,) in names):
            raise ValueError("an id")
    except (sqlite3.OperationalError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise sqlite3.DatabaseError(f"damaged: {type(error).__name__}: {error}") from None


def _is_whole(task: ActivityTask) -> bool:
    return (
        all(isinstance(getattr(task, name), str) for name in _TEXTS)
        and isinstance(task.started_event_id, int)
        and isinstance(task.input, str | None)
    )

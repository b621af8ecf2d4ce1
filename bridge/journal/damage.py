"""Finds damaged rows of the journal. SQLite keeps no checksums and accepts a row with a wrong byte.

Without this check a row that cannot be decoded as a task would end the daemon at every start.
"""

from collections.abc import Iterable
from typing import Any

from bridge.message.message import decode_task
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


def check_tasks(rows: Iterable[tuple[Any, ...]]) -> None:
    """Decode every row (id, domain, task list, time of the poll, body) as later reads do.

    Raises ValueError, TypeError, KeyError or AttributeError for a damaged row.
    """
    for task_id, domain, task_list, polled_at, body in rows:
        task = decode_task(body, float(polled_at))
        is_whole = _is_whole(task) and (domain, task_list) == (task.domain, task.task_list)
        if task.id != task_id or not is_whole:
            raise ValueError(f"task {task_id!r:.40}")


def _is_whole(task: ActivityTask) -> bool:
    return (
        all(isinstance(getattr(task, name), str) for name in _TEXTS)
        and isinstance(task.started_event_id, int)
        and isinstance(task.input, str | None)
    )

"""How a task of the local SWF looks on a terminal."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Task = Mapping[str, Any]
Column = tuple[str, Callable[[Task], str]]


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    whole = time.strftime("%H:%M:%S", time.localtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}"


def _took(task: Task) -> str:
    if task["startedAt"] is None:
        return "-"
    end = task["closedAt"] if task["closedAt"] is not None else time.time()
    return f"{max(0.0, end - task['startedAt']):.3f}"


def _state(task: Task) -> str:
    kind = task["timeoutType"]
    state = f"{task['state']} ({kind})" if kind else str(task["state"])
    asked = task["cancelRequestedAt"] is not None and task["closedAt"] is None
    return f"{state}, cancel requested" if asked else state


SUMMARY: tuple[Column, ...] = (
    ("ID", lambda task: str(task["id"])),
    ("TYPE", lambda task: _printable(f"{task['name']} {task['version']}")),
    ("TASK LIST", lambda task: _printable(f"{task['domain']}/{task['taskList']}")),
    ("STATE", _state),
    ("SCHEDULED", lambda task: _clock(task["scheduledAt"])),
    ("SECONDS", _took),
    ("REASON", lambda task: _printable(task["reason"] or "")),
)


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]


def print_table(tasks: Iterable[Task], columns: tuple[Column, ...]) -> None:
    """Print one line a task under a head, aligned."""
    rows = [[text(task) for _, text in columns] for task in tasks]
    head = [name for name, _ in columns]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def print_task(task: Task) -> None:
    """Print all that is known of a task, one thing a line, in the order of its life."""
    timeouts = [f"{k.removesuffix('Timeout')} {v}" for k, v in task["timeouts"].items()]
    lines: list[tuple[str, object]] = [
        ("task", task["id"]),
        ("state", _state(task)),
        ("type", f"{task['name']} {task['version']}"),
        ("task list", f"{task['domain']}/{task['taskList']}"),
        ("activity id", task["activityId"]),
        ("workflow", f"{task['workflowId']} {task['runId']}"),
        ("time-outs", ", ".join(timeouts)),
        ("message id", task["messageId"]),
        ("scheduled", _clock(task["scheduledAt"])),
        ("started", _started(task)),
        ("heartbeats", _beats(task["heartbeats"])),
        ("cancel", _cancel(task)),
        ("closed", _clock(task["closedAt"]) if task["closedAt"] else None),
        ("reason", task["reason"]),
    ]
    for part in ("input", "result", "details"):
        size = task[f"{part}Length"]
        if size is not None:
            lines.append((part, task.get(part, f"{size} characters")))
    lines += [
        ("refused", f"{_clock(again['at'])} {again['operation']}: {again['fault']}")
        for again in task["refused"]
    ]
    for label, value in lines:
        if value is not None:
            print(f"{label:<12}{_printable(str(value))}")


def _started(task: Task) -> str | None:
    if task["startedAt"] is None:
        return None
    text = f"{_clock(task['startedAt'])} by {task['identity'] or 'a poll without identity'}"
    return f"{text}; unheard: {task['unheard']}" if task["unheard"] else text


def _beats(times: list[float]) -> str | None:
    return f"{len(times)}, the last at {_clock(times[-1])}" if times else None


def _cancel(task: Task) -> str | None:
    if task["cancelRequestedAt"] is None:
        return None
    told = task["cancelToldAt"]
    return f"requested {_clock(task['cancelRequestedAt'])}" + (
        f", told {_clock(told)}" if told else ", no heartbeat has asked since"
    )

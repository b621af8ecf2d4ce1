"""Format a task of the local SWF for a terminal."""

import time

from bridge.cli.text import Column, print_fields
from bridge.cli.text import Row as Task


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
    ("TYPE", lambda task: f"{task['name']} {task['version']}"),
    ("TASK LIST", lambda task: f"{task['domain']}/{task['taskList']}"),
    ("STATE", _state),
    ("SCHEDULED", lambda task: _clock(task["scheduledAt"])),
    ("SECONDS", _took),
    ("REASON", lambda task: task["reason"] or ""),
)


def print_task(task: Task) -> None:
    """Print all fields of a task, one on each line, in order of time."""
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
    print_fields(lines)


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

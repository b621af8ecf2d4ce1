"""Converts a setting's value to the text that its variable would hold."""

import json

from bridge.settings.task_list import TaskList


def written(value: object) -> str:
    """Return the value as its variable would hold it."""
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, tuple) and all(isinstance(each, TaskList) for each in value):
        return json.dumps([each.model_dump(exclude_none=True) for each in value])
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return "" if value is None else str(value)

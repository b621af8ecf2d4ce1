"""What a message tells of who sent it, for a log line: RabbitMQ itself tells a consumer nothing."""

from collections.abc import Mapping
from typing import Any

NAMED = ("app_id", "user_id")
"""The worker's own name for itself, and its login, which RabbitMQ checks."""
OF_THE_MESSAGE = ("message_id", "correlation_id")
SHOWN = 64
"""Characters of each that are shown."""


def name(properties: Mapping[str, Any]) -> dict[str, str]:
    """The properties by which a worker can be told from others; empty where it sets none."""
    return _shown(properties, NAMED)


def sender(properties: Mapping[str, Any]) -> dict[str, str]:
    """The same, and the ids of the message."""
    return _shown(properties, (*NAMED, *OF_THE_MESSAGE))


def _shown(properties: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    return {
        each: str(value)[:SHOWN] for each in names if (value := properties.get(each)) is not None
    }

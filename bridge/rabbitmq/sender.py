"""Names the sender of a message for the log, from its properties: RabbitMQ adds no such data."""

from collections.abc import Mapping
from typing import Any

NAMED = ("app_id", "user_id")
"""The worker's name, as it chose it, and its login, which RabbitMQ verifies."""
OF_THE_MESSAGE = ("message_id", "correlation_id")
SHOWN = 64
"""Maximum characters of a value."""


def name(properties: Mapping[str, Any]) -> dict[str, str]:
    """The properties that identify the worker; empty if it sets none of them."""
    return _shown(properties, NAMED)


def sender(properties: Mapping[str, Any]) -> dict[str, str]:
    """The properties that identify the worker and the message."""
    return _shown(properties, (*NAMED, *OF_THE_MESSAGE))


def _shown(properties: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    return {
        each: str(value)[:SHOWN] for each in names if (value := properties.get(each)) is not None
    }

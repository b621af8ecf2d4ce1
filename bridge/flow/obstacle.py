"""The states of a poller, and the reasons why it may not begin a poll. Pure."""

from enum import Enum
from typing import NamedTuple


class PollerState(Enum):
    """The state of a poller; used as a metric label, on the status page and in diagnosis."""

    STARTING = "starting"
    PAUSED = "paused"
    POLLING = "polling"
    WINDOW_FULL = "window full"
    BROKER_AWAY = "broker away"
    JOURNAL = "journal not writable"
    NO_DEMAND = "no demand"
    REFUSED = "refused by SWF"
    FAILING = "failing"
    STOPPED = "stopped"


class Obstacle(NamedTuple):
    """The reason why no poll may begin."""

    state: PollerState
    text: str
    """The reason in words for an operator."""

"""What a poller is at, and why a poll may not begin. Pure."""

from enum import Enum
from typing import NamedTuple


class PollerState(Enum):
    """What a poller is at; a label of metrics, and what page and findings go by."""

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
    """Why no poll may begin."""

    state: PollerState
    text: str
    """The same in a sentence for an operator."""

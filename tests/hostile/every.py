"""All attacks, by name: importing this registers them."""

from . import heartbeat_attacks, reply_attacks
from .registry import ATTACKS

__all__ = ["ATTACKS", "heartbeat_attacks", "reply_attacks"]

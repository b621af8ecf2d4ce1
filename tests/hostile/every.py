"""All attacks, by name: importing this registers them."""

from . import heartbeat_attacks, page_attacks, reply_attacks, swf_attacks
from .registry import ATTACKS

__all__ = ["ATTACKS", "heartbeat_attacks", "page_attacks", "reply_attacks", "swf_attacks"]

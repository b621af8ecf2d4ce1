"""Parses direct reply-to addresses, `amq.rabbitmq.reply-to.…`, to which workers want answers.

RabbitMQ closes a connection (541) that publishes to an address that it cannot decode, or whose node
it does not know. An address is an Erlang process id in base64, a dot, and a key (rabbit_channel,
``decode_fast_reply_to``). The process id contains the node's name.
"""

import re
from base64 import b64decode

DIRECT = "amq.rabbitmq.reply-to."
_DIRECT = re.compile(r"(?s)amq\.rabbitmq\.reply-to\.([A-Za-z0-9+/_-]+={0,2})\..+")
_URL_SAFE = str.maketrans("-_", "+/")
_PID = re.compile(
    rb"""(?sx)\x83
    (?: g (?: w (?P<length1>.) | v (?P<length2>..) ) (?P<node1>.+) .{9}      # PID_EXT
      | X (?: w (?P<length3>.) | v (?P<length4>..) ) (?P<node2>.+) .{12} )   # NEW_PID_EXT
    """
)
"""A process id in Erlang's external term format: the length of the node's name, the name, and
numbers of fixed width."""


def node_of(address: str) -> bytes:
    """The node's name in a direct reply-to address; empty if the address is malformed."""
    match = _DIRECT.fullmatch(address)
    if match is None:
        return b""
    try:
        pid = _PID.fullmatch(b64decode(match[1].translate(_URL_SAFE), validate=True))
    except ValueError:
        return b""
    if pid is None:
        return b""
    length = next(filter(None, (pid[f"length{number}"] for number in range(1, 5))))
    node: bytes = pid["node1"] or pid["node2"]
    return node if int.from_bytes(length, "big") == len(node) else b""

"""The connections of a daemon, as RabbitMQ sees them. Asks the node itself: about half a second."""

import json
import re
from collections.abc import Sequence
from typing import Any

from bridge.local.rabbitmq import RabbitNode
from tests.acceptance.harness import Bridge


def connections_of(node: RabbitNode, bridge: Bridge, part: str = "") -> list[dict[str, Any]]:
    """`pid` and `recv_cnt`, the frames received, of each; or of that of one part."""
    columns = ("pid", "client_properties", "recv_cnt")
    told = json.loads(node.ctl("list_connections", *columns, "--formatter", "json"))
    return [
        each
        for each in told
        if f":{bridge.pid}'" in str(each["client_properties"]).replace('"', "'")
        and f"swf-bridge {part}" in str(each["client_properties"])
    ]


def cut(node: RabbitNode, connections: Sequence[dict[str, Any]]) -> None:
    """Close them at RabbitMQ, all at the same time."""
    # What the command line calls #PID<12575.1933.0> is <0.1933.0> in the node.
    pids = [re.sub(r"#PID<\d+\.", "<0.", each["pid"]) for each in connections]
    close = 'rabbit_networking:close_connection(list_to_pid("{}"), "cut off by a test")'
    node.eval(", ".join(close.format(pid) for pid in pids) + ".")

"""Free ports of loopback for servers that are started for a trial or a test."""

import random
import socket
from contextlib import suppress

from bridge.local.management import NodeError

_claims: list[socket.socket] = []
"""A socket for each port that free_ports returned; it claims the port until process exit."""


def free_ports(count: int) -> list[int]:
    """Find `count` free loopback ports below the range of ephemeral ports. Raises NodeError.

    In the ephemeral range, a client that reconnects to a closed port may connect to itself.
    A port is claimed until this process ends, so that no other caller of this function gets it.
    """
    found: list[int] = []
    for port in random.sample(range(20000, 32000), 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _claim(port)
            found.append(port)
        if len(found) == count:
            return found
    raise NodeError("no free ports between 20000 and 32000")


def _claim(port: int) -> None:
    """Claim the port by binding an abstract Unix socket. Raises OSError if it is claimed."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0swf-bridge-port-{port}")
    except OSError:
        claim.close()
        raise
    _claims.append(claim)

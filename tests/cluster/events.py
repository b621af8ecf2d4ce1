"""What befalls a cluster. Each event returns the Unix times between which no gap may be long."""

import time
from collections.abc import Callable

from .bench import Bench

Event = Callable[[Bench, float], tuple[float, float]]


def dead_node(bench: Bench, seconds: float) -> tuple[float, float]:
    """The node that the bridge publishes over is killed, and stays away."""
    node = bench.used_by("publisher")
    began = time.time()
    node.kill()
    time.sleep(seconds)
    ended = time.time()
    node.start()
    return began, ended


def dead_leader(bench: Bench, seconds: float) -> tuple[float, float]:
    """The node with the leader of the reply queue is killed."""
    node = bench.cluster.leader_of("swf.replies")
    began = time.time()
    node.kill()
    time.sleep(seconds)
    ended = time.time()
    node.start()
    return began, ended


def rolling_restart(bench: Bench, seconds: float) -> tuple[float, float]:
    """Each node is stopped in order and started again, one after the other."""
    began = time.time()
    for node in bench.cluster.nodes:
        node.restart()
        bench.cluster.await_all()
        bench.await_progress()
    return began, time.time()


def frozen(bench: Bench, seconds: float) -> tuple[float, float]:
    """The node that the bridge publishes over stands still, and goes on after `seconds`."""
    node = bench.used_by("publisher")
    began = time.time()
    node.pause()
    time.sleep(seconds)
    node.resume()
    ended = time.time()
    # RabbitMQ may leave a node that it missed for so long out of the cluster until it starts anew.
    node.kill()
    node.start()
    return began, ended


def no_quorum(bench: Bench, seconds: float) -> tuple[float, float]:
    """Two nodes are killed; counted from the moment when a second runs again."""
    first, second, _ = bench.cluster.nodes
    first.kill()
    second.kill()
    time.sleep(seconds)
    first.start()
    began = time.time()
    bench.await_progress()
    ended = time.time()
    second.start()
    return began, ended


def drained(bench: Bench, seconds: float) -> tuple[float, float]:
    """The node that the bridge publishes over is drained for maintenance, and revived."""
    node = bench.used_by("publisher")
    began = time.time()
    node.upgrade("drain")
    time.sleep(seconds)
    node.upgrade("revive")
    return began, time.time()


EVENTS: dict[str, tuple[Event, float, float]] = {
    "dead-node": (dead_node, 40.0, 5.0),
    "dead-leader": (dead_leader, 15.0, 5.0),
    "rolling-restart": (rolling_restart, 0.0, 5.0),
    "drained": (drained, 10.0, 5.0),
    "frozen": (frozen, 75.0, 20.0),
    "no-quorum": (no_quorum, 20.0, 10.0),
}
"""By name: the event, for how many seconds it lasts, and how long a gap it may cost at most."""

"""A limit of RabbitMQ on connections, below what the daemon has: tasks and replies go first."""

import json

from tests import forked
from tests.acceptance.harness import Bridge, Start
from tests.brokers import Vhost
from tests.processes import until

LIMIT = "A limit of RabbitMQ keeps the bridge out"


def limited(vhost: Vhost, connections: int) -> None:
    path = f"vhost-limits/{vhost.name}/max-connections"
    vhost.api.call("PUT", path, {"value": connections})


def status(bridge: Bridge) -> dict[str, object]:
    socket = bridge.settings["SWF_BRIDGE_JOURNAL"].replace(".db", ".sock")
    ended = forked.run(["-m", "bridge", "status", "--json", "--control", socket], timeout=60)
    told: dict[str, object] = json.loads(ended.stdout)
    return told


def test_with_two_places_the_daemon_polls_and_answers_and_with_none_it_names_the_limit(
    start: Start, vhost: Vhost
) -> None:
    limited(vhost, 0)
    bridge = start(await_start=False)
    bridge.wait("broker.lost", connection="publisher")
    bridge.wait("broker.lost", connection="consumer")
    assert until(lambda: LIMIT in str(status(bridge)["findings"]))
    limited(vhost, 2)
    bridge.wait("broker.connected", 30, connection="publisher")
    bridge.wait("broker.connected", 30, connection="consumer")
    assert until(lambda: LIMIT not in str(status(bridge)["findings"]))
    assert until(lambda: "connection limit (2) is reached" in str(status(bridge)), 20)
    assert bridge.stop() == 0

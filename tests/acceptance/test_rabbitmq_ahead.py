"""RabbitMQ as it means to be, without deprecated features and with Khepri: the bridge needs none.

`BROKER_AHEAD=1 make test` has every test of the suite run so.
"""

from collections.abc import Iterator
from contextlib import closing

import pytest

from bridge.local import LocalSwf
from bridge.local.management import NodeError
from bridge.local.rabbitmq import SCRIPTS, RabbitNode
from tests.acceptance.harness import Site, Start
from tests.brokers import Vhost
from tests.worker import DEAD, Worker

(RELEASE,) = [path.name for path in SCRIPTS.parent.glob("lib/rabbitmq_server-*")] or ["none-0"]


@pytest.fixture(scope="module")
def broker_node() -> Iterator[RabbitNode]:
    """One of this module's own, which `vhost` and `shared_vhost` take."""
    if reason := RabbitNode.unavailable():
        pytest.skip(f"{reason}: `make test` installs it")
    if int(RELEASE.rpartition("-")[2].partition(".")[0]) < 4:
        pytest.skip("RabbitMQ before 4 can neither forbid what it deprecates nor use Khepri")
    with RabbitNode(ahead=True) as node:
        yield node


def test_the_node_has_khepri_and_forbids_all_that_it_deprecates(broker_node: RabbitNode) -> None:
    flags = {each["name"]: each["state"] for each in broker_node.call("GET", "feature-flags")}
    assert flags["khepri_db"] == "enabled"
    forbidden = (broker_node.folder / "rabbitmq.conf").read_text()
    features = broker_node.deprecated_features()
    assert "transient_nonexcl_queues" in features
    assert all(f"deprecated_features.permit.{name} = false" in forbidden for name in features)
    with pytest.raises(NodeError, match="transient_nonexcl_queues"):
        broker_node.call("PUT", "queues/%2F/transient", {"durable": False})


def test_a_task_its_heartbeat_its_result_and_a_dead_letter_take_their_way(site: Site) -> None:
    task_id, task = site.hand_out()
    worker = site.worker
    worker.channel.queue_declare("answers", durable=True)
    token = task.json["taskToken"]
    beat = {"taskToken": token, "status": "heartbeat"}
    worker.send(beat, reply_to="answers", correlation_id="1")
    assert worker.take("answers").json["open"]
    worker.send(b"no JSON")
    assert worker.take(DEAD).body == b"no JSON"
    worker.complete(task)
    assert site.closed(task_id)["state"] == "completed"


def test_work_goes_on_after_a_restart_of_the_node(
    broker_node: RabbitNode, vhost: Vhost, swf: LocalSwf, start: Start
) -> None:
    with closing(Worker(vhost.url)) as worker:
        worker.queue()
    bridge = start()
    bridge.wait_connected()
    broker_node.restart()
    bridge.wait_connected(60, count=2)
    with closing(Worker(vhost.url)) as worker:
        task_id = swf.submit("echo")
        worker.complete(worker.take())
        assert swf.wait_closed(task_id, 10)

"""The short form of `make cluster`: the bridge on three nodes, one of which dies and stays away."""

from collections.abc import Iterator

import pika
import pytest

from bridge.conformance.amqp import BoundedConnection
from bridge.message.message import Message
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.publisher import Fate, Publisher
from tests.integration.running import Receipts, Running, await_that

from .bench import Bench
from .events import dead_leader, dead_node
from .nodes import Cluster


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(three_nodes: Cluster) -> Cluster:
    """All three running, whatever the test before has killed."""
    three_nodes.mend()
    return three_nodes


@pytest.mark.timeout(400)  # three nodes boot, and two of them again
def test_a_node_that_dies_and_stays_away_costs_seconds_and_no_task(cluster: Cluster) -> None:
    with Bench(cluster) as bench:
        for event in (dead_node, dead_leader):
            began, ended = event(bench, 8.0)
            cluster.await_all()
            bench.await_progress()
            assert bench.longest_gap(began, ended) <= 5.0, event.__doc__
        assert bench.finish() == []


@pytest.mark.timeout(300)
def test_a_queue_whose_leader_dies_takes_messages_again_while_the_node_stays_away(
    cluster: Cluster,
) -> None:
    """A channel that published to it first in that moment would be nacked for as long."""
    with Running() as running:
        with BoundedConnection(pika.URLParameters(cluster.nodes[0].url())) as connection:
            quorum = {"x-queue-type": "quorum"}
            connection.channel().queue_declare("led", durable=True, arguments=quorum)
        leader = cluster.leader_of("led")
        node = next(each for each in cluster.nodes if each is not leader)
        part = Publisher([node.url()], Tls(), [], declare=True)
        running.start(part)
        leader.kill()
        receipts = Receipts()
        sent = 0

        def is_taken() -> bool:
            nonlocal sent
            part.publish(Message("", "led", b""), receipts.done(sent))
            sent += 1
            receipts.wait(sent)
            return receipts.by_number[sent - 1].fate is Fate.CONFIRMED

        await_that(is_taken, 10)

"""Publisher and consumer on a real RabbitMQ: each runs on its thread, as in the daemon."""

import logging
from collections.abc import Iterator

import pytest

from bridge.rabbitmq.topology import Topology
from tests.brokers import Vhost
from tests.integration.running import Running
from tests.worker import Worker


@pytest.fixture(autouse=True)
def quiet_pika() -> Iterator[None]:
    """As in the daemon: it logs each failure to connect seven times over."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("pika").setLevel(logging.NOTSET)


@pytest.fixture
def topology() -> Topology:
    return Topology(
        exchange="swf.activities",
        cancel_exchange="swf.cancellations",
        reply_queue="swf.replies",
        dead_letter_queue="swf.replies.dead",
        undeliverable="swf.undeliverable",
        instance="test",
    )


@pytest.fixture
def running() -> Iterator[Running]:
    """Runs parts on threads; every one of them must end when it is asked to."""
    with Running() as running:
        yield running


@pytest.fixture
def worker(vhost: Vhost) -> Iterator[Worker]:
    worker = Worker(vhost.url)
    yield worker
    worker.close()

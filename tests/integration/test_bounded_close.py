"""A connection of a test's or a trial's ends in time, also where RabbitMQ never answers."""

import time

import pika
import pytest

from bridge.conformance.amqp import BoundedConnection
from bridge.local.rabbitmq import RabbitNode
from tests.processes import until


def test_a_close_that_rabbitmq_does_not_answer_is_given_up(broker_node: RabbitNode) -> None:
    parameters = pika.URLParameters(broker_node.url())
    connection = BoundedConnection(parameters, close_timeout=0.3)
    connection.channel()
    broker_node.pause()
    began = time.monotonic()
    try:
        connection.close()
        assert 0.3 <= time.monotonic() - began < 10
        assert not connection.is_closed
    finally:
        broker_node.resume()
    assert until(lambda: connection.is_closed), "its thread ends it once RabbitMQ answers"


def test_a_close_that_is_answered_ends_the_connection_before_it_comes_back(
    broker_node: RabbitNode,
) -> None:
    with BoundedConnection(pika.URLParameters(broker_node.url())) as connection:
        connection.channel()
    assert connection.is_closed


def test_a_second_close_is_refused_as_pikas_own(broker_node: RabbitNode) -> None:
    connection = BoundedConnection(pika.URLParameters(broker_node.url()))
    connection.close()
    with pytest.raises(pika.exceptions.ConnectionWrongStateError):
        connection.close()

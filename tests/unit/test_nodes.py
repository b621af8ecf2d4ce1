"""In which order the addresses of RabbitMQ's nodes are tried."""

import socket

from bridge.rabbitmq.nodes import Addresses

HOSTS = {"one": ["10.0.0.1"], "three": ["10.0.1.1", "10.0.1.2", "10.0.1.3"]}


class Names:
    """A resolver that knows HOSTS, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def look_up(self, host, port, **_options):
        self.asked.append(host)
        if host not in HOSTS:
            raise socket.gaierror("no such name")
        return [(0, 0, 0, "", (ip, port)) for ip in HOSTS[host]]


def next_of(addresses: Addresses, count: int) -> list[str]:
    return [addresses.next().shown for _ in range(count)]


def test_each_address_of_a_name_is_tried_once_a_round_like_a_url_of_its_own():
    addresses = Addresses(["amqp://me:secret@three", "amqp://one:5673"], Names().look_up)
    a_round = ["three [10.0.1.1]", "three [10.0.1.2]", "three [10.0.1.3]", "one:5673"]
    assert next_of(addresses, 3) == a_round[:3]
    assert not addresses.tried_all
    assert next_of(addresses, 1) == a_round[3:]
    assert addresses.tried_all
    assert next_of(addresses, 4) == a_round


def test_a_name_is_looked_up_when_its_turn_comes_and_anew_in_every_round():
    names = Names()
    addresses = Addresses(["amqp://one", "amqp://three"], names.look_up)
    addresses.next()
    assert names.asked == ["one"]
    next_of(addresses, 4)
    assert names.asked == ["one", "three", "one"]


def test_a_name_that_nobody_knows_is_tried_all_the_same():
    addresses = Addresses(["amqp://nowhere", "amqp://one"], Names().look_up)
    assert next_of(addresses, 2) == ["nowhere", "one"]


def test_after_the_loss_of_an_address_that_served_all_others_are_tried_before_it():
    addresses = Addresses(["amqp://a", "amqp://b", "amqp://c"], Names().look_up)
    assert next_of(addresses, 2) == ["a", "b"]
    addresses.settled()
    assert next_of(addresses, 2) == ["c", "a"]
    assert addresses.tried_all

"""What a consumer and a publisher have in hand is bounded, and what is set aside comes again."""

from bridge.message.message import Message
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.consuming.unacked import SMALL, Aside, Unacked
from bridge.rabbitmq.publisher import Fate, Publisher

BUDGET = 80_000
LARGE = 10_000


class Channel:
    """Notes what it is asked for."""

    def __init__(self):
        self.acked = []
        self.nacked = []

    def basic_ack(self, tag, multiple=False):
        self.acked.append((tag, multiple))

    def basic_nack(self, tag, requeue):
        assert requeue
        self.nacked.append(tag)


def with_large(count):
    unacked, aside = Unacked(BUDGET), Aside()
    for tag in range(1, count + 1):
        if not unacked.add(tag, LARGE, again=False):
            aside.put(tag, LARGE)
    return unacked, aside


def test_an_eighth_of_the_budget_is_kept_for_small_bodies():
    unacked, aside = with_large(12)
    assert len(aside) == 12 - 7
    assert unacked.add(13, SMALL, again=False)
    assert unacked.add(14, SMALL, again=False)
    assert not unacked.add(15, SMALL, again=False)


def test_one_body_may_be_over_the_budget_where_it_is_alone():
    unacked = Unacked(BUDGET)
    assert unacked.add(1, 10 * BUDGET, again=False)
    assert not unacked.add(2, 1, again=False)


def test_as_many_are_given_back_as_there_is_room_for_until_they_have_come_again():
    channel = Channel()
    unacked, aside = with_large(12)
    unacked.done(1)
    unacked.done(2)
    for _ in range(3):
        unacked.give_back(channel, aside, 100)
    assert channel.nacked == [8, 9]
    assert not unacked.add(13, LARGE, again=False)
    assert unacked.add(14, LARGE, again=True)
    assert unacked.add(15, LARGE, again=True)
    assert not unacked.add(16, LARGE, again=True)


def test_what_does_not_come_again_keeps_its_room_for_a_while_only():
    channel = Channel()
    unacked, aside = with_large(12)
    unacked.done(1)
    unacked.give_back(channel, aside, 100)
    assert not unacked.add(13, LARGE, again=False)
    unacked.expect_no_more()
    assert unacked.add(14, LARGE, again=False)


def test_what_waits_is_counted_until_it_is_settled_and_not_where_it_is_settled_before():
    unacked, channel = Unacked(BUDGET), Channel()
    for tag in (1, 2, 3):
        unacked.add(tag, 1, again=False)
    unacked.wait(1)
    unacked.wait(2)
    assert unacked.waiting == 2
    unacked.go_on(1)
    unacked.done(1)
    unacked.done(3)
    unacked.wait(3)
    assert unacked.waiting == 1
    unacked.acknowledge(channel)
    unacked.clear()
    assert unacked.waiting == 0


def test_what_was_given_back_is_not_acknowledged():
    channel = Channel()
    unacked, aside = with_large(9)
    for tag in range(1, 8):
        unacked.done(tag)
    unacked.give_back(channel, aside, 1)
    unacked.acknowledge(channel)
    assert channel.acked == [(7, True)]
    assert channel.nacked == [8]
    assert len(unacked) == 1


def test_a_publisher_lets_no_more_wait_than_it_may():
    publisher = Publisher(["amqp://localhost"], Tls(), (), declare=True, most_waiting=2)
    told = []
    for number in range(4):
        publisher.publish(Message("", "q", b"%d" % number), told.append)
    assert [each.fate for each in told] == [Fate.NACKED] * 2
    assert publisher.outstanding == 2

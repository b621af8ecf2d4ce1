"""What the tests' recorder does of what the publisher promises, the real publisher does too."""

import threading

import pytest

from bridge.message.message import Message
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.publisher import Fate, Publisher
from bridge.rabbitmq.topology import Queue
from tests.unit.bridge_parts import Recorder, until

GOOD = [Message("", "work", b"%d" % number, {"headers": {"n": number}}) for number in range(3)]
BAD = [
    Message("", "work", b"", {"headers": {"x": object()}}),
    Message("", "work", b"", {"headers": {"n" * 256: "x"}}),
    Message("", "k" * 256, b""),
]


class Recording(Recorder):
    """A broker with a queue for everything: each message is confirmed as soon as it is sent."""

    def publish(self, message, done, *, alone=False):
        super().publish(message, done, alone=alone)
        if self.sent:
            self.receipt()


@pytest.fixture(params=["recorder", "publisher"])
def publisher(request):
    if request.param == "recorder":
        yield Recording()
        return
    url = request.getfixturevalue("vhost").url
    part = Publisher([url], Tls(), [Queue("work")], declare=True)
    thread = threading.Thread(target=part.run)
    thread.start()
    until(part.ready.is_set, 30)
    yield part
    part.stop()
    thread.join(10)


def test_every_message_has_one_receipt_and_what_cannot_be_encoded_is_refused(publisher):
    fates = []
    messages = [GOOD[0], BAD[0], GOOD[1], BAD[1], BAD[2], GOOD[2]]
    for number, message in enumerate(messages):
        publisher.publish(message, lambda receipt, n=number: fates.append((n, receipt.fate)))
    until(lambda: len(fates) == len(messages))
    expected = [Fate.REFUSED if each in BAD else Fate.CONFIRMED for each in messages]
    assert [fate for _, fate in sorted(fates, key=lambda each: each[0])] == expected

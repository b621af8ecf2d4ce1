"""Headers as large as a frame lets them be: skipped undecoded, and nobody beside them waits.

RabbitMQ 4 itself takes a second and more to hand 200 such messages to any consumer, 3.10 next to
nothing. So a bare consumer gets the same messages at the same time from a queue of the same kind,
and what the good reply takes longer than there is the bridge's.
"""

import json
import struct
import time

import pika
import pytest

from bridge.conformance.amqp import QUORUM, BoundedConnection
from tests.acceptance.bare import REST, bare_consumer
from tests.acceptance.harness import Site
from tests.brokers import Vhost
from tests.worker import DEAD, REPLIES

MANY = 200
SIZE = 120_000
SOON = 2.0
BARE = "bare"
BOTH = "both"


class Encoded(dict[str, object]):
    """A header table by its bytes, as a client of another language would send it."""

    def __init__(self, encoded: bytes) -> None:
        super().__init__(odd=None)
        self.encoded = encoded


def table(field: bytes) -> bytes:
    """A table of about SIZE bytes, of fields with names of their own."""
    fields = b"".join(b"\x05%05d" % n + field for n in range(SIZE // (6 + len(field))))
    return struct.pack(">I", len(fields)) + fields


FIELDS = {
    "voids": b"V",
    "flags": b"t\x01",
    "tables": b"F\x00\x00\x00\x00",
    "arrays": b"A\x00\x00\x00\x04VVVV",
    "numbers": b"l" + b"\x7f" * 8,
    "texts": b"S\x00\x00\x00\x03abc",
}


@pytest.mark.parametrize("kind", FIELDS)
def test_200_replies_with_header_tables_of_120_kb_delay_no_good_one(
    site: Site, vhost: Vhost, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = table(FIELDS[kind])

    def encode_table(pieces: list[bytes], given: object, of=pika.data.encode_table) -> int:  # type: ignore[no-untyped-def]
        if isinstance(given, Encoded):
            pieces.append(given.encoded)
            return len(given.encoded)
        return int(of(pieces, given))

    monkeypatch.setattr("pika.data.encode_table", encode_table)
    task_id, task = site.hand_out()
    connection = BoundedConnection(pika.URLParameters(vhost.url))
    channel = connection.channel()
    channel.queue_declare(BARE, durable=True, arguments=dict(QUORUM))
    channel.exchange_declare(BOTH, "fanout")
    for queue in (REPLIES, BARE):
        channel.queue_bind(queue, BOTH)
    properties = pika.BasicProperties(delivery_mode=2, headers=Encoded(encoded))
    good = {"taskToken": task.json["taskToken"], "status": "completed", "result": "done"}
    with bare_consumer(vhost.url, BARE) as bare:
        for _ in range(MANY):  # at once: no confirm is waited for
            channel.basic_publish(BOTH, "", REST, properties)
        channel.queue_declare(REPLIES, passive=True)  # answered when all of them are there
        started = time.monotonic()
        channel.basic_publish(BOTH, "", json.dumps(good), pika.BasicProperties(delivery_mode=2))
        assert site.closed(task_id, 60)["state"] == "completed"
        taken = time.monotonic() - started
        alone = bare.seen() - started
    print(f"{kind}: a good reply behind {MANY} was settled in {taken:.2f} s, bare {alone:.2f} s")
    assert taken - alone < SOON
    connection.close()
    assert site.worker.until(lambda: site.worker.ready(DEAD) == MANY, 30)
    assert site.worker.ready(REPLIES) == 0
    assert "cannot be decoded" in site.worker.take(DEAD).headers["swf-bridge-error-detail"]

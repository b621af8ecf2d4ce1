"""What workers send that they should not, beside their good replies."""

import json
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pika

from bridge.conformance.amqp import BoundedConnection

from .registry import REPLIES, fault
from .workers import RawHeaders, field, nested

if TYPE_CHECKING:
    from .bench import Bench

FLOOD = 10_000


def _reply(token: str, status: str = "completed", **fields: object) -> bytes:
    return json.dumps({"taskToken": token, "status": status, **fields}).encode()


@fault(REPLIES)
def replies_twice(bench: "Bench") -> Iterator[None]:
    """And to tasks that are closed by now."""
    with ExitStack() as stack:
        channel = bench.channel(stack)
        for token in bench.tokens("closed", 50) + bench.tokens("closed", 50):
            channel.basic_publish("", "swf.replies", _reply(token, result="again"))
            channel.basic_publish("", "swf.replies", _reply(token, "heartbeat"))
    yield


@fault(REPLIES)
def ten_thousand_replies_at_once(bench: "Bench") -> Iterator[None]:
    with ExitStack() as stack:
        tokens = bench.tokens("closed", 100)
        connection = BoundedConnection(pika.URLParameters(bench.node.url(bench.vhost)))
        stack.callback(connection.close)
        plain = connection.channel()
        for number in range(FLOOD):
            token = tokens[number % len(tokens)]
            plain.basic_publish("", "swf.replies", _reply(token, result="flood"))
    yield


@fault(REPLIES)
def replies_that_are_none(bench: "Bench") -> Iterator[None]:
    """Bodies and headers that can never be accepted: to the dead letters, each of them."""
    token = (bench.tokens("started", 1) or ["x"])[0]
    bodies = [
        b"\xff\xfe chaos",
        b"no JSON: chaos",
        b'["chaos"]',
        b'{"chaos": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"chaos": NaN}',
        b'{"chaos": 1' + b"0" * 5000 + b"}",
        b'{"chaos": 1, "taskToken": 7, "status": "completed"}',
        b'{"chaos": 1, "taskToken": "no token", "status": "completed"}',
        json.dumps({"chaos": 1, "taskToken": token, "status": "finished"}).encode(),
        json.dumps({"chaos": 1, "taskToken": token}).encode(),
        os.urandom(1000) + b"chaos",
    ]
    properties = [
        None,
        RawHeaders(field(b"at", b"T", struct.pack(">Q", 2**63))),
        RawHeaders(nested(300)),
        RawHeaders(nested(3000)),
        RawHeaders(field(b"\xff\xfe", b"S", struct.pack(">I", 2) + b"\xc3\x28")),
        RawHeaders(field(b"x-\xff", b"F", struct.pack(">I", 5) + b"\x02\xff\xff" + b"t\x01")),
        RawHeaders(b"".join(field(b"f%d" % n, b"f", bytes(4)) for n in range(9000))),
        pika.BasicProperties(headers={f"h{n}": "x" * 1000 for n in range(120)}),
        pika.BasicProperties(
            user_id="guest", expiration="60000", headers={"CC": ["nobody"], "BCC": ["x"]}
        ),
    ]
    with ExitStack() as stack:
        channel = bench.channel(stack)
        for given in properties:
            for body in bodies:
                channel.basic_publish("", "swf.replies", body, given)
    yield

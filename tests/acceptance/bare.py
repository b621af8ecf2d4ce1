"""A consumer that does nothing with a message: what RabbitMQ alone takes to hand a queue over.

    python -m tests.acceptance.bare URL QUEUE

It has the bridge's prefetch, acknowledges each message, and says when it has been subscribed and
when a message came whose body is not REST. It skips header tables by code of its own: with the
bridge's, a fault there would slow both and be seen by nobody.
"""

import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika

from bridge.conformance.amqp import BoundedConnection

REST = b"no JSON"
PREFETCH = 256


class Bare:
    """Such a consumer in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def seen(self) -> float:
        """The time, by the monotonic clock, at which the other message came."""
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())


@contextmanager
def bare_consumer(url: str, queue: str) -> Iterator[Bare]:
    """Consumes the queue till the end of the block."""
    command = [sys.executable, "-m", __name__, url, queue]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            bare = Bare(process)
            bare.seen()
            yield bare
        finally:
            process.kill()


def _skip_table(encoded: bytes, offset: int) -> tuple[dict[str, Any], int]:
    (size,) = struct.unpack_from(">I", encoded, offset)
    return {}, offset + 4 + size


def _main(url: str, queue: str) -> None:
    pika.data.decode_table = _skip_table
    channel = BoundedConnection(pika.URLParameters(url)).channel()
    channel.basic_qos(prefetch_count=PREFETCH)

    def on_message(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        channel.basic_ack(method.delivery_tag)
        if body != REST:
            print(time.monotonic(), flush=True)

    channel.basic_consume(queue, on_message)
    print(time.monotonic(), flush=True)
    channel.start_consuming()


if __name__ == "__main__":
    _main(*sys.argv[1:])

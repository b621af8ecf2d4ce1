"""What comes from RabbitMQ: replies and what else stands in our queues, byte for byte."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pika.spec import BasicProperties

from bridge.cli.text import printable
from bridge.control.dead_letter import DeadLetter
from bridge.control.request import Request
from bridge.errors import BadReply, Declined
from bridge.flow.heartbeats.reply_to import DIRECT, node_of
from bridge.flow.settling.peers import decode_notice
from bridge.message.message import names_no_task
from bridge.message.replies import DEAD_LETTER_CODES
from bridge.message.undeliverable import decode_undeliverable
from bridge.rabbitmq import pika_tables
from bridge.rabbitmq.amqp import from_pika
from bridge.task import Failed

from .amqp_tables import accepts, long, short
from .case import Case
from .inputs import Feed, source

HEADERS = 1 << 13
REPLY_TO, CORRELATION_ID, TYPE, APP_ID, TIMESTAMP = 1 << 9, 1 << 10, 1 << 5, 1 << 3, 1 << 6


def _frame(flags: int, *values: bytes) -> bytes:
    return struct.pack(">H", flags) + b"".join(values)


def _message(header: bytes, body: bytes) -> bytes:
    return struct.pack(">H", len(header)) + header + body


def _text(name: bytes, value: bytes) -> bytes:
    return short(name) + b"S" + long(value)


_TOKEN = _text(b"swf-task-token", b"token")
_REPLIES = (
    _message(_frame(0), b'{"taskToken": "token", "status": "completed", "result": "r"}'),
    _message(_frame(0), b'{"taskToken": "t", "status": "failed", "reason": [1], "details": {}}'),
    _message(_frame(0), b'{"taskToken": "t", "status": "canceled", "details": "\\ud834\\udd1e"}'),
    _message(
        _frame(HEADERS, long(_TOKEN + _text(b"swf-status", b"heartbeat"))),
        b"",
    ),
    _message(
        _frame(
            HEADERS | CORRELATION_ID | REPLY_TO,
            long(_text(b"sentry-trace", b"a" * 32 + b"-" + b"b" * 16 + b"-1")),
            short(b"id"),
            short(b"amq.rabbitmq.reply-to.g1h2AA5yZXBseUAxNzMzMTE0MAAAAvQAAAAAawr6pg==.x"),
        ),
        b'{"taskToken": "t", "status": "heartbeat", "details": null}',
    ),
    _message(
        _frame(
            HEADERS | TIMESTAMP,
            long(
                _text(b"swf-bridge-error", b"not-json")
                + _text(b"swf-bridge-error-detail", b"Value 'x' at 'result'")
                + short(b"x-death") + b"A" + long(b"F" + long(_text(b"reason", b"rejected")))
                + short(b"n") + b"l" + bytes(8)
            ),
            struct.pack(">Q", 1_700_000_000_000),
        ),
        b"no json",
    ),
)  # fmt: skip
_WORDS = (
    b'"taskToken":', b'"status":', b'"completed"', b'"heartbeat"', b'"result":', b'"details":',
    b"swf-task-token", b"swf-status", b"x-death", b"CC", b"amq.rabbitmq.reply-to.", b"\xef\xbb\xbf",
)  # fmt: skip


def _delivered(data: bytes) -> tuple[bytes, bytes] | None:
    """Body and content header, where RabbitMQ would take them from a worker."""
    if len(data) < 2:
        return None
    (length,) = struct.unpack_from(">H", data)
    header, body = data[2 : 2 + length], data[2 + length :]
    return (body, header) if accepts(header) else None


@source(_REPLIES, words=_WORDS, share=60)
@contextmanager
def replies() -> Iterator[Feed]:
    """A reply with its headers: decoded, answered for, parked, shown to an operator, replayed."""
    pika_tables.install()

    def feed(data: bytes) -> str:
        if (found := _delivered(data)) is None:
            return "RabbitMQ closes"
        body, header = found
        outcome = Case(body, header).run()
        properties = from_pika(BasicProperties().decode(header))
        _show(body, properties)
        address = properties.get("reply_to")
        if isinstance(address, str) and address.startswith(DIRECT):
            node_of(address)
        return outcome

    yield feed


def _show(body: bytes, properties: dict[str, Any]) -> None:
    letter = DeadLetter(1, 1, body, properties)
    for shown in (letter.summary(), letter.whole()):
        assert printable(str(shown)).isprintable()
    letter.reply("replies")


@source(
    (
        _message(
            _frame(
                HEADERS | TYPE | APP_ID,
                long(
                    short(b"x-death") + b"A" + long(
                        b"F" + long(
                            _text(b"reason", b"rejected") + _text(b"queue", b"work")
                            + short(b"count") + b"l" + struct.pack(">q", 1)
                        )
                    )
                ),
                short(b"swf.activity-task.v1"),
                short(b"swf-bridge"),
            ),
            b'{"taskToken": "t", "activityId": "a", "input": null}',
        ),
        _message(_frame(0), b'{"taskToken": "t", "open": true, "cancelRequested": false}'),
    ),
    words=(*_WORDS, b"swf.heartbeat-answer.v1", b'"cancelRequested":', b"count"),
    share=20,
)  # fmt: skip
@contextmanager
def undeliverables() -> Iterator[Feed]:
    """A task message that a worker's queue dead-lettered, or what stands there in its place."""
    pika_tables.install()

    def feed(data: bytes) -> str:
        if (found := _delivered(data)) is None:
            return "RabbitMQ closes"
        body, header = found
        properties = from_pika(BasicProperties().decode(header))
        if names_no_task(body, properties):
            return "no task"
        try:
            failed = decode_undeliverable(body, properties["headers"])
        except BadReply as error:
            return {code: code for code in DEAD_LETTER_CODES}[error.code]
        assert isinstance(failed, Failed)
        assert failed.reason is not None
        assert len(failed.reason.encode("utf-16-le", "surrogatepass")) <= 512
        return "failed"

    yield feed


@source(
    (
        b'{"notice": "settled", "tasks": ["0123456789abcdef0123456789abcdef"], "from": "x"}',
        b'{"notice": "cancel", "tasks": [], "from": null}',
    ),
    words=(b'"notice":', b'"tasks":', b'"from":', b'"spoke"'),
    share=20,
)
@contextmanager
def notices() -> Iterator[Feed]:
    """A notice of another instance, or what a worker sends as one."""

    def feed(data: bytes) -> str:
        what, tasks, sender = decode_notice(data)
        assert isinstance(what, str)
        assert isinstance(sender, str)
        assert all(len(each) == 32 for each in tasks)
        return "notice" if tasks else "no notice"

    yield feed


@source(
    (b'{"command": "tasks list", "ids": ["abcdef"], "older_than": 5}', b'{"command": "status"}'),
    words=(b'"command":', b'"ids":', b'"older_than":'),
    share=5,
)
@contextmanager
def filters_of_dead_letters() -> Iterator[Feed]:
    """What an operator's client asks of the dead letters."""
    from bridge.control.dead_letter import DeadLetterFilter

    letter = DeadLetter(1, 1, b"{}", {"headers": {}})

    def feed(data: bytes) -> str:
        try:
            return str(DeadLetterFilter.of(Request.decode(data, 0))(letter))
        except Declined as error:
            return error.code

    yield feed

"""Attacks by what a reply holds, by how much, and by where it goes."""

import json
import random
import struct
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pika

from bridge.conformance.amqp import BoundedConnection
from tests.faults.workers import RawHeaders, field
from tests.worker import DEAD, REPLIES

from .registry import attack

if TYPE_CHECKING:
    from .site import Site

MILLION = 10**6
FRAME_ROOM = 120_000
"""Bytes of a header table that just fit into one frame."""


def _completed(token: str, **more: object) -> bytes:
    return json.dumps({"taskToken": token, "status": "completed", **more}).encode()


@attack(quick=True, tracing=True, before="exit 70, for ever")
def a_sample_rate_without_end(site: "Site") -> None:
    """Replies that continue a trace, sampled at a rate of `inf`, where the daemon traces."""
    rates = ("inf", "-inf", "nan", "1e999", "9" * 5000, "0x10", "")
    for number, token in enumerate(site.tokens(20)):
        trace = {
            "sentry-trace": f"{'a' * 32}-{'b' * 16}-1",
            "baggage": f"sentry-sample_rate={rates[number % len(rates)]}",
        }
        site.attacker.send(_completed(token), pika.BasicProperties(headers=trace))


@attack(before="3.2 GB, stopped 10.6 s; exit 70")
def a_reply_of_120_megabytes(site: "Site") -> None:
    """One reply whose body is `{},{},…` as far as RabbitMQ takes it."""
    site.attacker.send(b"[" + b"{}," * (40 * MILLION) + b"{}]")


@attack(before="2.5 GB (200 of 16 MB)")
def large_replies_while_swf_is_away(site: "Site") -> None:
    """20 replies of 16 MB and 300 of nearly 1 MB for tasks whose answers SWF cannot take now; those
    of good tasks it takes.
    """
    tokens = site.tokens(2)
    for token in tokens:
        site.swf.faults.add("unavailable", operation="RespondActivityTaskCompleted", token=token)
    _send_large(site, tokens, REPLIES)


@attack(control=True)
def as_much_past_the_bridge(site: "Site") -> None:
    """The same bytes to a quorum queue that is not the bridge's, where they are consumed: what
    RabbitMQ and the machine make good replies wait.
    """
    beside = "large"
    site.channel().queue_declare(beside, durable=True, arguments={"x-queue-type": "quorum"})
    threading.Thread(target=_consume, args=(site.admin, beside), daemon=True).start()
    _send_large(site, ["t", "t"], beside)


def _consume(url: str, queue: str) -> None:
    """To the end of the process."""
    channel: Any = BoundedConnection(pika.URLParameters(url)).channel()
    channel.basic_qos(prefetch_count=256)
    for method, _, _ in channel.consume(queue):
        channel.basic_ack(method.delivery_tag)


def _send_large(site: "Site", tokens: list[str], to: str) -> None:
    for _ in range(20):
        site.attacker.send(_completed(tokens[0], more="x" * (16 * MILLION)), to=to)
    for _ in range(300):
        site.attacker.send(_completed(tokens[1], more="x" * 900_000), to=to)


@attack(before="a good reply after 74 s")
def headers_of_many_fields(site: "Site") -> None:
    """200 replies, each with 120 KB of headers that hold nothing."""
    one = field(b"", b"V", b"")
    headers = RawHeaders(one * (FRAME_ROOM // len(one)))
    for _ in range(200):
        site.attacker.send(b"{}", headers)


@attack()
def headers_of_one_long_array(site: "Site") -> None:
    """200 replies, each with one header that is an array of 120,000 fields of nothing."""
    array = b"V" * FRAME_ROOM
    headers = RawHeaders(field(b"a", b"A", struct.pack(">I", len(array)) + array))
    for _ in range(200):
        site.attacker.send(b"{}", headers)


@attack(before="stopped 56 s")
def a_dead_letter_that_is_slow_to_read(site: "Site") -> None:
    """A forged dead letter whose reason is 100 KB of what redaction looks for, and an operator who
    lists the dead letters.
    """
    for text in ("aaaaaaaaaaaaaaaaaaaaa://", 'input":"\\', "value '", "a://b:", "token "):
        detail = text * (100_000 // len(text))
        reason = {"swf-bridge-error": "not-json", "swf-bridge-error-detail": detail}
        site.attacker.send(b"{}", pika.BasicProperties(headers=reason), to=DEAD)
    site.operator("dead", "list")


@attack(before="no good reply in 4 min")
def bad_replies_into_a_full_dead_letter_queue(site: "Site") -> None:
    """20,000 bad replies where the dead-letter queue is full, and rejects."""
    rule = {
        "pattern": f"^{DEAD.replace('.', '[.]')}$",
        "definition": {"max-length": 10, "overflow": "reject-publish"},
        "apply-to": "queues",
    }
    site.node.call("PUT", f"policies/{quote(site.vhost)}/full", rule)
    for _ in range(20_000):
        site.attacker.send(b"no reply")


@attack()
def a_flood_of_small_garbage(site: "Site") -> None:
    """20,000 replies of a few bytes that can never be accepted."""
    for number in range(20_000):
        site.attacker.send(b'{"status": %d}' % number, to=REPLIES)


@attack()
def replies_that_nest_deeply(site: "Site") -> None:
    """100 replies of half a megabyte of opening brackets."""
    for _ in range(100):
        site.attacker.send(b"[" * 500_000)


@attack(before="25 % in 2 s")
def replies_of_many_values(site: "Site") -> None:
    """100 replies of half a megabyte of small strings, names or numbers, and of lone surrogates."""
    (token,) = site.tokens()
    started = _completed(token, result=0)[:-2]
    for text in (b'"",' * 166_000, b'{"":' * 125_000):
        for _ in range(25):
            site.attacker.send(b'{"result":[' + text)
    numbers = b"[" + b",".join([b"1.2345e-300"] * 41_000) + b"]}"
    for result in (numbers, b'"' + rb"\ud800" * 83_000 + b'"}'):
        for _ in range(25):
            site.attacker.send(started + result)


@attack(before="1.1 replies/s")
def results_with_a_token_of_one_letter(site: "Site") -> None:
    """3,000 results with the token `t`, each of which SWF would have to refuse."""
    for _ in range(3000):
        site.attacker.send(_completed("t"))


@attack(quick=True)
def results_with_a_token_of_their_own_each(site: "Site") -> None:
    """3,000 results, each with a token of its own that SWF never gave."""
    (token,) = site.tokens()
    for number in range(3000):
        site.attacker.send(_completed(f"{number:06}{token[6:]}"))


@attack()
def results_of_a_task_that_is_closed(site: "Site") -> None:
    """3,000 results of one task, of which the first closes it."""
    (token,) = site.tokens()
    for number in range(3000):
        site.attacker.send(_completed(token, result=f"{number}"))


@attack()
def large_results_of_one_task(site: "Site") -> None:
    """3,000 results of one task, each over SWF's limit, for each of which it would be failed."""
    (token,) = site.tokens()
    for _ in range(3000):
        site.attacker.send(_completed(token, result="x" * 33_000))


SHORT = (
    b"",
    b"x" * 255,
    b"\xff\xfe\x80",
    b"\x00",
    b"\x1b[2J\x1b]0;x\x07",
    "\u202e".encode(),
    b"\xed\xa0\x80",
)
"""Short strings as RabbitMQ takes them: it does not ask for UTF-8."""


class OddProperties(pika.BasicProperties):
    """Properties drawn by chance, as bytes of no particular charset and numbers at their ends."""

    SHORTS = (15, 14, 10, 9, 7, 5, 3, 2)
    """The bits of the short strings, but for `user_id` and `expiration`: RabbitMQ checks these, and
    the delivery mode, and closes the channel."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        number = {
            12: struct.pack("B", chance.choice((1, 2))),
            11: struct.pack("B", chance.choice((0, 1, 9, 10, 255))),
            6: struct.pack(">Q", chance.choice((0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1))),
        }
        short = {bit: _short(chance.choice(SHORT)) for bit in self.SHORTS}
        given = {**number, **short}
        self._given = {bit: given[bit] for bit in given if chance.random() < 0.7}

    def encode(self) -> list[bytes]:
        flags = sum(1 << bit for bit in self._given)
        fields = [self._given[bit] for bit in sorted(self._given, reverse=True)]
        return [struct.pack(">H", flags), *fields]


def _short(value: bytes) -> bytes:
    return struct.pack("B", len(value)) + value


@attack(quick=True)
def properties_at_their_ends(site: "Site") -> None:
    """2,000 messages, good and bad, to replies, dead letters and undeliverable tasks, each with
    properties of odd charsets, priorities and timestamps; and an operator who lists
    the dead letters.
    """
    (beating, *closing) = site.tokens(40)
    beat = json.dumps({"taskToken": beating, "status": "heartbeat"}).encode()
    for number in range(2000):
        body, to = (
            (beat, REPLIES),
            (b"no reply", REPLIES),
            (b"no dead letter", DEAD),
            (_completed(closing.pop()) if closing else b"", REPLIES),
            (b"no task", "swf.undeliverable"),
        )[number % 5]
        site.attacker.send(body, OddProperties(site.chance), to=to)
    channel = site.channel()
    while channel.queue_declare(DEAD, passive=True).method.message_count < 1000:
        assert site.attacking(every=0.05), "RabbitMQ or the bridge did not take all of them"
    site.operator("dead", "list")
    site.page_answers()

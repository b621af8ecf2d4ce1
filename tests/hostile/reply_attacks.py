"""Attacks by what a reply holds, by how much, and by where it goes."""

import json
import struct
from typing import TYPE_CHECKING
from urllib.parse import quote

import pika

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


@attack(quick=True, tracing=True)
def a_sample_rate_without_end(site: "Site") -> None:
    """Replies that continue a trace, sampled at a rate of `inf`, where the daemon traces."""
    rates = ("inf", "-inf", "nan", "1e999", "9" * 5000, "0x10", "")
    for number, token in enumerate(site.tokens(20)):
        trace = {
            "sentry-trace": f"{'a' * 32}-{'b' * 16}-1",
            "baggage": f"sentry-sample_rate={rates[number % len(rates)]}",
        }
        site.attacker.send(_completed(token), pika.BasicProperties(headers=trace))


@attack()
def a_reply_of_120_megabytes(site: "Site") -> None:
    """One reply whose body is `{},{},…` as far as RabbitMQ takes it."""
    site.attacker.send(b"[" + b"{}," * (40 * MILLION) + b"{}]")


@attack()
def large_replies_while_swf_is_away(site: "Site") -> None:
    """Replies of 16 MB and of nearly 1 MB for tasks whose answers SWF cannot take now."""
    tokens = site.tokens(2)
    for token in tokens:
        site.swf.faults.add("unavailable", operation="RespondActivityTaskCompleted", token=token)
    for _ in range(20):
        site.attacker.send(_completed(tokens[0], more="x" * (16 * MILLION)))
    for _ in range(300):
        site.attacker.send(_completed(tokens[1], more="x" * 900_000))


@attack(quick=True)
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


@attack()
def a_dead_letter_that_is_slow_to_read(site: "Site") -> None:
    """A forged dead letter whose reason is 100 KB of what redaction looks for, and an operator who
    lists the dead letters.
    """
    for text in ("aaaaaaaaaaaaaaaaaaaaa://", 'input":"\\', "value '", "a://b:", "token "):
        detail = text * (100_000 // len(text))
        reason = {"swf-bridge-error": "not-json", "swf-bridge-error-detail": detail}
        site.attacker.send(b"{}", pika.BasicProperties(headers=reason), to=DEAD)
    site.operator("dead", "list")


@attack()
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


@attack()
def results_with_a_token_of_one_letter(site: "Site") -> None:
    """3,000 results with the token `t`, each of which SWF would have to refuse."""
    for _ in range(3000):
        site.attacker.send(_completed("t"))


@attack()
def results_of_a_task_that_is_closed(site: "Site") -> None:
    """3,000 results of one task, of which the first closes it."""
    (token,) = site.tokens()
    for number in range(3000):
        site.attacker.send(_completed(token, result=f"{number}"))

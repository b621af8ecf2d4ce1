"""Attacks by heartbeats, and by where their answers are wanted."""

import base64
import time
from typing import TYPE_CHECKING

import pika

from .registry import PROMISE, attack

if TYPE_CHECKING:
    from .site import Site


@attack(quick=True, before="publisher ready 3 %, 9 of 39 tasks")
def answers_to_an_address_that_closes_the_connection(site: "Site") -> None:
    """Heartbeats want their answers at forged direct reply-tos, over which RabbitMQ closes the
    connection; a good one beside them is answered within 2 s.
    """
    forging, good = site.tokens(2)
    answers = "answers of greeter"
    channel = site.channel()
    channel.queue_declare(answers, durable=True)  # RabbitMQ may forbid transient ones
    while site.attacking(every=1.0):
        began = time.monotonic()
        for number in range(20):
            address = "amq.rabbitmq.reply-to.a.b" if number % 2 else forged_reply_to(site)
            forged = pika.BasicProperties(reply_to=address)
            site.attacker.send({"taskToken": forging, "status": "heartbeat"}, forged)
        wanted = pika.BasicProperties(reply_to=answers)
        site.attacker.send({"taskToken": good, "status": "heartbeat"}, wanted)
        site.attacker.settle()
        while channel.basic_get(answers, auto_ack=True)[0] is None:
            took = time.monotonic() - began
            assert took < PROMISE, f"a good heartbeat is not answered in {took:.1f} s"
            time.sleep(0.02)


def forged_reply_to(site: "Site") -> str:
    """As RabbitMQ writes them, for a node that there is not."""
    node = f"reply@{site.chance.randrange(10**9)}".encode()
    pid = b"\x83Xv" + len(node).to_bytes(2, "big") + node + bytes(12)
    return f"amq.rabbitmq.reply-to.{base64.b64encode(pid).decode()}.xlkDdv9Et7oGfescIUkUAQ=="


@attack(before="a result after 58 s")
def a_tight_loop_of_heartbeats(site: "Site") -> None:
    """5,000 heartbeats of one task at once, each with an answer wanted."""
    (token,) = site.tokens()
    answered = pika.BasicProperties(reply_to=site.attacker.queue)
    for number in range(5000):
        beat = {"taskToken": token, "status": "heartbeat", "details": f"{number}"}
        site.attacker.send(beat, answered)


@attack(before="1.1 replies/s")
def heartbeats_with_a_token_of_one_letter(site: "Site") -> None:
    """3,000 heartbeats with the token `t`, which stands in many words of an error."""
    for _ in range(3000):
        site.attacker.send({"taskToken": "t", "status": "heartbeat"})


@attack()
def loops_over_more_tasks_than_may_wait(site: "Site") -> None:
    """5,000 heartbeats of 80 tasks in turn, each with an answer wanted."""
    tokens = site.tokens(80)
    answered = pika.BasicProperties(reply_to=site.attacker.queue)
    for number in range(5000):
        beat = {"taskToken": tokens[number % len(tokens)], "status": "heartbeat"}
        site.attacker.send(beat, answered)

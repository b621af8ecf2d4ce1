"""Attacks by heartbeats, and by where their answers are wanted."""

from typing import TYPE_CHECKING

import pika

from .registry import attack

if TYPE_CHECKING:
    from .site import Site


@attack(quick=True)
def answers_to_an_address_that_closes_the_connection(site: "Site") -> None:
    """A heartbeat a second wants its answer at a forged direct reply-to, over which RabbitMQ
    closes the connection of who publishes there.
    """
    (token,) = site.tokens()
    forged = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to.a.b")
    while site.attacking(every=1.0):
        site.attacker.send({"taskToken": token, "status": "heartbeat"}, forged)
        site.attacker.settle()


@attack()
def a_tight_loop_of_heartbeats(site: "Site") -> None:
    """5,000 heartbeats of one task at once, each with an answer wanted."""
    (token,) = site.tokens()
    answered = pika.BasicProperties(reply_to=site.attacker.queue)
    for number in range(5000):
        beat = {"taskToken": token, "status": "heartbeat", "details": f"{number}"}
        site.attacker.send(beat, answered)


@attack()
def heartbeats_with_a_token_of_one_letter(site: "Site") -> None:
    """3,000 heartbeats with the token `t`, which stands in many words of an error."""
    for _ in range(3000):
        site.attacker.send({"taskToken": "t", "status": "heartbeat"})

"""A limit of RabbitMQ's on connections: what tasks and replies need comes in first."""

import pytest

from bridge.rabbitmq.amqp import Refusal, Tls
from bridge.rabbitmq.nodes import ConnectionLimit
from bridge.rabbitmq.publisher import Publisher
from tests.brokers import Vhost
from tests.integration.running import RECONNECTS, Running, await_that


def limited(vhost: Vhost, connections: int) -> None:
    path = f"vhost-limits/{vhost.name}/max-connections"
    vhost.api.call("PUT", path, {"value": connections})


def part(vhost: Vhost, name: str, **limits: ConnectionLimit) -> Publisher:
    made = Publisher([vhost.url], Tls(), (), declare=True, name=name, **limits)
    made.backoff.cap = RECONNECTS
    return made


def test_what_is_needed_gets_the_place_of_what_is_not(vhost: Vhost, running: Running) -> None:
    limit = ConnectionLimit()
    beside = [part(vhost, name, after=limit) for name in ("answers", "copies")]
    for each in beside:
        running.start(each)
    limited(vhost, 2)
    needed = part(vhost, "publisher", limit=limit)
    running.start(needed)
    await_that(lambda: sum(each.ready.is_set() for each in beside) == 1)
    (waits,) = (each for each in beside if not each.ready.is_set())
    await_that(lambda: "connection limit (2) is reached" in waits.outage.error)
    assert waits.refusal is Refusal.LIMIT
    assert needed.ready.is_set()
    limited(vhost, 3)
    await_that(waits.ready.is_set)


def test_what_is_not_needed_stays_away_while_others_take_every_place(
    vhost: Vhost, running: Running
) -> None:
    limit = ConnectionLimit()
    beside, other = part(vhost, "answers", after=limit), part(vhost, "a worker's")
    running.start(other)
    limited(vhost, 1)
    needed = part(vhost, "publisher", limit=limit)
    running.start(needed, await_ready=False)
    await_that(lambda: needed.refusal is Refusal.LIMIT)
    running.start(beside, await_ready=False)
    limited(vhost, 2)
    await_that(needed.ready.is_set)
    await_that(lambda: beside.refusal is Refusal.LIMIT)
    assert other.ready.is_set()


def test_the_loss_of_a_place_is_told_with_the_connection_that_gets_it(
    vhost: Vhost, running: Running
) -> None:
    limit = ConnectionLimit()
    beside = part(vhost, "answers", after=limit)
    running.start(beside)
    limit.note("publisher", kept_out=True)
    limit.note("consumer", kept_out=True)
    await_that(lambda: bool(beside.outage.error))
    assert beside.outage.error == "RabbitMQ's limit: gives way to consumer and publisher"
    limit.note("publisher", kept_out=False)
    assert limit.keeps_out == "consumer"
    assert not beside.ready.is_set()
    limit.note("consumer", kept_out=False)
    await_that(beside.ready.is_set)


def test_what_is_not_needed_tries_nothing_while_it_has_to_wait(
    vhost: Vhost, running: Running
) -> None:
    limit = ConnectionLimit()
    limit.note("consumer", kept_out=True)
    beside = part(vhost, "answers", after=limit)
    running.start(beside, await_ready=False)
    for name in ("a", "b", "c"):  # each takes as long as it would take
        running.start(part(vhost, name))
    assert beside.node == "", "it has connected"
    limit.note("consumer", kept_out=False)
    await_that(beside.ready.is_set)


@pytest.mark.parametrize("limit", ["max-connections", "max-channels"])
def test_a_limit_of_the_user_is_one_too_and_a_wrong_password_is_none(
    vhost: Vhost, running: Running, limit: str
) -> None:
    user = f"user-{vhost.name}"
    vhost.api.add_user(user, "secret")
    try:
        vhost.api.set_permissions(user, vhost=vhost.name)
        vhost.api.call("PUT", f"user-limits/{user}/{limit}", {"value": 0})
        rest = vhost.url.rpartition("@")[2]
        for password, refusal in (("secret", Refusal.LIMIT), ("wrong", Refusal.LOGIN)):
            refused = Publisher([f"amqp://{user}:{password}@{rest}"], Tls(), (), declare=True)
            running.start(refused, await_ready=False)
            await_that(lambda: bool(refused.outage.error))  # noqa: B023 - awaited here
            assert refused.refusal is refusal
        running.stop()
    finally:
        vhost.api.delete_user(user)

"""A dead-letter queue that takes nothing: bad replies wait beside good ones, not before them."""

import time

from bridge.local import LocalSwf
from bridge.status.diagnosis.diagnosis import findings
from tests.acceptance.harness import Bridge, Site, Start, peak
from tests.brokers import Vhost
from tests.worker import DEAD, REPLIES, Worker

BAD = 2_000
SOON = 2.0
"""Seconds within which a good reply is settled, whatever stands beside it."""


def full(worker: Worker) -> None:
    """Full, and rejects what comes."""
    worker.channel.queue_declare(
        DEAD,
        durable=True,
        arguments={"x-max-length": 1, "x-overflow": "reject-publish"},
    )
    worker.send(b"the one that it takes", to=DEAD)


def bad_replies(worker: Worker, count: int, size: int = 0) -> None:
    for n in range(count):
        worker.send(b"bad %d " % n + b"x" * size)


def settled_in(site: Site) -> float:
    """Seconds in which a good reply, sent now, closes its task."""
    task_id, task = site.hand_out()
    started = time.monotonic()
    site.worker.complete(task)
    assert site.closed(task_id, 30)["state"] == "completed"
    return time.monotonic() - started


def waiting(bridge: Bridge) -> int:
    return int(bridge.status["deadLetters"]["waiting"])


def losses(bridge: Bridge) -> list[str]:
    """Why connections were lost: once all stand, never over a dead letter.

    RabbitMQ 3.10 has been seen to crash a channel, with 541, as it was asked to consume from a
    queue that had just been declared.
    """
    return [str(each["error"]) for each in bridge.events("broker.lost")]


def test_2000_bad_replies_that_a_full_queue_rejects_delay_no_good_one(
    start: Start, swf: LocalSwf, worker: Worker
) -> None:
    worker.queue()
    full(worker)
    site = Site(swf, start(), worker)
    settled_in(site)
    before = losses(site.bridge)
    bad_replies(worker, BAD)
    taken = [settled_in(site) for _ in range(20)]
    assert max(taken) < SOON, taken
    assert worker.until(lambda: waiting(site.bridge) == BAD)
    assert max(settled_in(site) for _ in range(5)) < SOON
    assert worker.ready(REPLIES) == 0
    status = site.bridge.status
    assert status["checks"]["dead-letters"]["ok"] is False
    assert "The dead-letter queue takes nothing" in [each.title for each in findings(status)]
    assert len(site.bridge.events("dead_letters.failing")) == 1
    assert losses(site.bridge) == before

    worker.channel.queue_delete(DEAD)  # room: declared anew, with the next try
    assert worker.until(lambda: worker.exists(DEAD), 20)
    assert worker.until(lambda: worker.ready(DEAD) == BAD, 30)
    assert waiting(site.bridge) == 0
    assert site.bridge.status["checks"].get("dead-letters") is None
    assert len(site.bridge.events("dead_letters.failing")) == 1
    assert len(site.bridge.events("dead_letters.back")) == 1
    assert settled_in(site) < SOON


def limited_user(vhost: Vhost) -> str:
    """A user who may do everything but declare the dead-letter queue."""
    name = f"bridge-{vhost.name}"
    vhost.api.add_user(name, "secret")
    but = DEAD.replace(".", "[.]")
    vhost.api.set_permissions(
        name, vhost=vhost.name, configure=f"^(?!{but}$).*$", write=".*", read=".*"
    )
    scheme, _, rest = vhost.url.partition("://")
    return f"{scheme}://{name}:secret@{rest.rpartition('@')[2]}"


def test_a_dead_letter_queue_that_is_missing_and_forbidden_holds_nothing_up(
    start: Start, swf: LocalSwf, vhost: Vhost, worker: Worker
) -> None:
    worker.queue()
    url = limited_user(vhost)
    site = Site(swf, start(amqp_url=url), worker)
    assert settled_in(site) < 10
    before = losses(site.bridge)
    bad_replies(worker, 600)
    assert max(settled_in(site) for _ in range(10)) < SOON
    assert worker.until(lambda: waiting(site.bridge) == 600)
    assert not worker.exists(DEAD)
    checks = site.bridge.status["checks"]
    assert checks[f"lacking queue {DEAD}"]["ok"] is False
    assert len(site.bridge.events("dead_letters.failing")) == 1
    assert losses(site.bridge) == before


def test_bad_replies_that_wait_take_no_memory_for_their_bodies(
    start: Start, swf: LocalSwf, worker: Worker
) -> None:
    worker.queue()
    full(worker)
    site = Site(swf, start(reply_memory=8), worker)
    site.hand_out()
    before = peak(site.bridge)
    bad_replies(worker, 1_000, 100_000)
    assert worker.until(lambda: waiting(site.bridge) == 1_000, 30)
    assert settled_in(site) < SOON
    assert peak(site.bridge) - before < 30 * 1024 * 1024
    assert site.bridge.stop() == 0

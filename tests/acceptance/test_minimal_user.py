"""What `swf-bridge topology` prints is enough: the daemon runs with its minimal user alone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from bridge.local.rabbitmq import RabbitNode
from tests import forked
from tests.acceptance.harness import Bridge, Start, settings
from tests.brokers import Vhost
from tests.processes import until
from tests.worker import DEAD, Worker

PASSWORD = "of-the-minimal-user"


@pytest.fixture
def swf_bridge(swf: LocalSwf, vhost: Vhost, tmp_path: Path) -> Callable[..., str]:
    """Runs a command with an administrator's login; what it prints."""

    def swf_bridge(*args: str) -> str:
        given = settings(swf, vhost.url, tmp_path)
        ended = forked.run(["-m", "bridge", *args], env={**forked.SHELL, **given}, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
        return ended.stdout

    return swf_bridge


@pytest.fixture
def user(
    broker_node: RabbitNode, vhost: Vhost, swf_bridge: Callable[..., str], tmp_path: Path
) -> Iterator[str]:
    """The URL of the user, made as its page says: created, then the definitions imported."""
    name = f"minimal-{vhost.name}"
    broker_node.ctl("add_user", name, PASSWORD)
    definitions = tmp_path / "definitions.json"
    definitions.write_text(swf_bridge("topology", "--user", name))
    broker_node.ctl("import_definitions", str(definitions))
    scheme, _, rest = vhost.url.partition("://")
    yield f"{scheme}://{name}:{PASSWORD}@{rest.rpartition('@')[2]}"
    vhost.api.delete_user(name)


def everything_of_the_contract(
    bridge: Bridge, swf: LocalSwf, worker: Worker, command: Callable[..., str]
) -> None:
    """Whatever crosses RabbitMQ in the life of a task, once."""
    worker.queue(dead_letter_exchange="swf.undeliverable")
    notices = worker.queue("notices", exchange="swf.cancellations")
    # A round trip, with a heartbeat that is answered and a cancel that is told.
    task_id = swf.submit("greet")
    task = worker.take()
    swf.cancel(task_id)
    answers = worker.queue("answers", bind=None)
    beat = {"taskToken": task.json["taskToken"], "status": "heartbeat"}
    worker.send(beat, reply_to=answers)
    assert worker.take(answers).json["cancelRequested"] is True
    assert worker.take(notices).json["taskToken"] == task.json["taskToken"]
    worker.reply(task, "canceled")
    assert swf.wait_closed(task_id, 15), bridge.log
    # A task that its worker rejects.
    task_id = swf.submit("greet")
    assert worker.until(lambda: worker.ready("work") == 1)
    method, _, _ = worker.channel.basic_get("work")
    worker.channel.basic_reject(method.delivery_tag, requeue=False)
    assert swf.wait_closed(task_id, 15), bridge.log
    assert swf.task(task_id)["reason"].startswith("undeliverable: rejected")
    # A dead letter, sent once more by an operator.
    worker.send(b"no JSON")
    bridge.wait("reply.dead_lettered", code="not-json")
    assert worker.until(lambda: worker.ready(DEAD) == 1)
    assert json.loads(command("dead", "list", "--json"))["code"] == "not-json"
    command("dead", "replay", "--all")
    bridge.wait("reply.dead_lettered", code="not-json", count=2)
    assert worker.until(lambda: worker.ready(DEAD) == 1)
    assert not bridge.events("dead_letters.failing")


def asking(bridge: Bridge) -> Callable[..., str]:
    """Commands that the daemon answers."""
    socket = bridge.settings["SWF_BRIDGE_JOURNAL"].replace(".db", ".sock")

    def ask(*args: str) -> str:
        ended = forked.run(["-m", "bridge", *args, "--control", socket], timeout=60)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return ask


def test_with_the_minimal_user_alone_all_of_the_contract_works(
    start: Start, swf: LocalSwf, worker: Worker, user: str
) -> None:
    bridge = start(amqp_url=user)
    everything_of_the_contract(bridge, swf, worker, asking(bridge))
    refused = {each["item"] for each in bridge.events("topology.not_permitted")}
    assert {"exchange swf.activities", "queue swf.replies"} <= refused
    assert not [each for each in refused if "swf.bridge." in each]
    assert bridge.stop() == 0


def test_where_nothing_is_declared_the_notice_queue_is_named_and_the_rest_works(
    start: Start, swf: LocalSwf, worker: Worker, user: str
) -> None:
    bridge = start(amqp_url=user, declare="false")
    lost = bridge.wait("broker.lost", connection="notices")
    queue = lost["error"].removeprefix("queue ").partition(" is missing: NOT_FOUND")[0]
    assert queue.startswith("swf.bridge.quorum.")
    bridge.wait_connected()
    worker.queue(queue, bind="", exchange="swf.replies.notices")
    bridge.wait("broker.connected", 40, connection="notices")
    everything_of_the_contract(bridge, swf, worker, asking(bridge))
    assert bridge.stop() == 0


def test_instances_with_the_minimal_user_hear_of_each_other(
    start: Start, swf: LocalSwf, worker: Worker, user: str, tmp_path: Path
) -> None:
    worker.queue()
    one = start(amqp_url=user)
    other = start(amqp_url=user, task_lists="other", journal=tmp_path / "other.db")
    for bridge in (one, other):
        bridge.wait("broker.connected", connection="consumer")
    ids: list[str] = []

    def other_has_answered() -> bool:
        ids.append(swf.submit("greet"))
        worker.complete(worker.take())
        return bool(other.events("reply.settled"))

    assert until(other_has_answered, 30)
    assert swf.wait_closed(ids, 15)

    assert until(lambda: one.status["lists"][0]["inFlight"] == 0), one.log
    assert one.stop() == other.stop() == 0


def test_what_is_applied_is_what_is_printed(
    swf_bridge: Callable[..., str], vhost: Vhost, broker_node: RabbitNode, tmp_path: Path
) -> None:
    applied = swf_bridge("topology", "--apply").splitlines()
    assert all(line.startswith("✓ ") for line in applied)
    assert len(applied) == 1 + 4 + 3 + 1, "the broker, exchanges, queues, the binding"
    printed = json.loads(swf_bridge("topology", "--user", "guest"))
    before = stands(vhost)
    definitions = tmp_path / "definitions.json"
    definitions.write_text(json.dumps({**printed, "permissions": []}))
    broker_node.ctl("import_definitions", str(definitions))
    assert stands(vhost) == before
    for kind, name in (("queues", "name"), ("exchanges", "name"), ("bindings", "source")):
        there = {each[name] for each in vhost.api.call("GET", f"{kind}/{vhost.name}")}
        assert {each[name] for each in printed[kind]} <= there


def stands(vhost: Vhost) -> object:
    """What RabbitMQ has in the vhost, with its arguments."""
    kinds = {
        "queues": ("name", "durable", "arguments"),
        "exchanges": ("name", "type", "durable", "arguments"),
        "bindings": ("source", "destination", "routing_key"),
    }
    return {
        kind: sorted(
            repr([each[field] for field in fields])
            for each in vhost.api.call("GET", f"{kind}/{vhost.name}")
        )
        for kind, fields in kinds.items()
    }

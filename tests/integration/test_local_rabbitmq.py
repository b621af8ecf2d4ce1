import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pika
import pika.exceptions
import pytest

from bridge.conformance.amqp import BoundedConnection
from bridge.local.management import NodeError
from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode
from tests.processes import processes_that_name, until

needs_rabbitmq = pytest.mark.skipif(
    RabbitNode.unavailable() is not None, reason=str(RabbitNode.unavailable())
)

OWNER = """
import time
from bridge.local.rabbitmq import RabbitNode
node = RabbitNode(config="heartbeat = 7\\n").start()
assert "7" in node.eval("application:get_env(rabbit, heartbeat).")
node.pause()
print(node.folder, node.port, flush=True)
time.sleep(300)
"""


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def publish(url: str, queue: str) -> None:
    connection = BoundedConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(queue, durable=True)
    channel.basic_publish("", queue, b"kept", pika.BasicProperties(delivery_mode=2))
    connection.close()


def read(url: str, queue: str) -> bytes | None:
    connection = BoundedConnection(pika.URLParameters(url))
    _, _, body = connection.channel().basic_get(queue, auto_ack=True)
    connection.close()
    return body


@needs_rabbitmq
def test_a_node_ends_when_its_owner_is_killed_even_while_it_is_paused() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    folder, port = owner.stdout.readline().split()
    assert processes_that_name(folder)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert until(lambda: not processes_that_name(folder)), "processes were left"
    assert until(lambda: not Path(folder).exists()), "the folder was left"
    assert not listens(int(port))


def test_a_node_keeps_its_messages_and_port_over_a_crash_and_a_stop_as_soon_as_it_is_back(
    broker_node: RabbitNode,
) -> None:
    port = broker_node.port
    publish(broker_node.url(), "q")
    # That a queue exists is written to the disk a moment later than a confirmed message is.
    broker_node.eval("mnesia:sync_log().")
    broker_node.kill()
    assert not listens(port)
    broker_node.start()
    broker_node.restart_app()
    assert broker_node.port == port
    assert read(broker_node.url(), "q") == b"kept"
    broker_node.delete_queue("q")


def test_a_node_loads_from_no_plugin_that_does_not_run(broker_node: RabbitNode) -> None:
    path = broker_node.eval("code:get_path().")
    assert "/rabbitmq_management-" in path
    assert "/rabbitmq_shovel-" not in path


@needs_rabbitmq
def test_a_node_that_cannot_boot_says_why_and_leaves_nothing() -> None:
    node = RabbitNode(config="no.such.setting = 1\n")
    with pytest.raises(NodeError, match=r"no\.such\.setting|invalid"):
        node.start()
    with pytest.raises(NodeError, match="not started"):
        _ = node.folder


def test_a_paused_node_answers_nothing_until_it_is_resumed(broker_node: RabbitNode) -> None:
    def answers() -> bool:
        address = ("127.0.0.1", broker_node.port)
        with contextlib.suppress(TimeoutError), socket.create_connection(address, 0.3) as client:
            client.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(client.recv(8))
        return False

    assert until(answers)
    broker_node.pause()
    try:
        assert not answers()
    finally:
        broker_node.resume()
    assert until(answers)


def test_a_refusal_of_rabbitmqctl_is_told_in_its_own_words(broker_node: RabbitNode) -> None:
    with pytest.raises(NodeError, match="nobody"):  # RabbitMQ 4 is content to delete nobody
        broker_node.ctl("change_password", "nobody", "a password")
    with pytest.raises(NodeError, match="404"):
        broker_node.delete_vhost("nowhere")


def test_erlang_is_evaluated_in_the_node_and_its_errors_are_told(broker_node: RabbitNode) -> None:
    assert broker_node.eval("{ok, 1 + 1}.") == "{ok, 2}"
    for wrong in ("error(amiss).", "amiss amiss.", "amiss("):
        with pytest.raises(NodeError, match="error"):
            broker_node.eval(wrong)


def test_a_user_may_do_what_its_permissions_allow(broker_node: RabbitNode) -> None:
    broker_node.add_user("limited", "p@ss/word")
    broker_node.set_permissions("limited", configure="^mine")
    url = broker_node.url(user="limited", password="p@ss/word")
    publish(url, "mine")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="403"):
        publish(url, "theirs")
    broker_node.delete_queue("mine")
    broker_node.delete_user("limited")


def test_an_alarm_blocks_publishers_until_it_is_cleared(broker_node: RabbitNode) -> None:
    blocked: list[bool] = []
    connection = BoundedConnection(pika.URLParameters(broker_node.url()))
    connection.add_on_connection_blocked_callback(lambda *_: blocked.append(True))
    connection.add_on_connection_unblocked_callback(lambda *_: blocked.append(False))
    broker_node.memory_alarm(True)
    connection.channel().basic_publish("", "nowhere", b"")
    try:
        connection.process_data_events(10)
        assert blocked == [True]
    finally:
        broker_node.memory_alarm(False)
    connection.process_data_events(10)
    assert blocked == [True, False]
    broker_node.close_all_connections()
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="320"):
        connection.process_data_events(5)


def test_free_ports_are_different_and_outside_the_range_of_clients() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports) < max(first, 32000)


ASKS_FOR_PORTS = """
from bridge.local.ports import free_ports
print(*free_ports(300), flush=True)
input()
"""


def test_a_port_is_given_to_one_process_only() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", ASKS_FOR_PORTS]
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        given = [asker.stdout.readline().split() for asker in (one, other)]
        assert len(set(given[0] + given[1])) == 600
        for asker in (one, other):
            asker.communicate("\n")


def test_an_interrupt_in_the_middle_of_a_start_leaves_nothing() -> None:
    if reason := RabbitNode.unavailable():
        pytest.skip(reason)
    folders: list[Path] = []

    class Interrupted(RabbitNode):
        def _await_ready(self, *_: object) -> None:
            folders.append(self.folder)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Interrupted().start()
    # All have been killed by now; those that are not our children may still be dying.
    assert until(lambda: not processes_that_name(str(folders[0])))
    assert not folders[0].exists()

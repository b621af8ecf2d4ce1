"""A host name with several addresses is as several URLs: with a real resolver and real sockets."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from bridge.local.rabbitmq import RabbitNode
from tests.acceptance.harness import RUN, Start
from tests.brokers import Vhost
from tests.processes import until
from tests.worker import Worker

NAME = "rabbits.test"
IPS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
"""The node listens at the first of them only."""

IN_NAMESPACE = """\
import os, sys
hosts, *command = sys.argv[1:]
user = [] if os.geteuid() == 0 else ["--map-root-user"]
mounted = 'mount --bind "$0" /etc/hosts && exec "$@"'
os.execvp("unshare", ["unshare", "--mount", *user, "sh", "-c", mounted, hosts, *command])
"""


class Refusing:
    """A port that hangs up on whoever comes, and counts them."""

    def __init__(self, ip: str, port: int) -> None:
        self.came = 0
        self._listener = socket.create_server((ip, port))
        threading.Thread(target=self._hang_up, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _hang_up(self) -> None:
        try:
            while True:
                self._listener.accept()[0].close()
                self.came += 1
        except OSError:  # it was closed
            return


@pytest.fixture
def others(broker_node: RabbitNode) -> Iterator[list[Refusing]]:
    """What stands at the name's other addresses."""
    with ExitStack() as ends:
        made = [Refusing(ip, broker_node.port) for ip in IPS[1:]]
        for each in made:
            ends.callback(each.close)
        yield made


def test_each_address_of_the_name_is_tried_at_once_and_work_goes_on(
    broker_node: RabbitNode,
    others: list[Refusing],
    vhost: Vhost,
    swf: LocalSwf,
    start: Start,
    tmp_path: Path,
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("".join(f"{ip} {NAME}\n" for ip in IPS) + "127.0.0.1 localhost\n")
    command = ("-c", IN_NAMESPACE, os.fspath(hosts), sys.executable, *RUN)
    bridge = start(command=command, amqp_url=vhost.url.replace(IPS[0], NAME))
    shown = f"{NAME}:{broker_node.port} [{IPS[0]}]"
    for connection in ("publisher", "consumer"):
        node = bridge.wait("broker.connected", connection=connection)["address"]
        assert node.startswith(shown)
    before = [each.came for each in others]
    broker_node.close_all_connections()
    for connection in ("publisher", "consumer"):
        lost = bridge.wait("broker.lost", connection=connection)
        assert lost["address"] == shown
        back = bridge.wait("broker.connected", connection=connection, count=2)
        assert back["address"].startswith(shown)
    # Each of both connections has tried each of the other addresses before the one that it lost.
    assert until(lambda: all(o.came >= b + 2 for o, b in zip(others, before, strict=True)))
    worker = Worker(vhost.url)
    worker.queue()
    task_id = swf.submit("echo")
    worker.complete(worker.take())
    assert swf.wait_closed(task_id, 10)
    worker.close()

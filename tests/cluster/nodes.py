"""Three private RabbitMQ nodes as one cluster on loopback."""

import os
import secrets
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from bridge.local.management import NodeError
from bridge.local.ports import free_ports
from bridge.local.rabbitmq import AHEAD, SCRIPTS, RabbitNode

FORM_TIMEOUT = 120.0
COMMAND_TIMEOUT = 120.0

_CONFIG = """\
cluster_formation.peer_discovery_backend = classic_config
{nodes}
cluster_partition_handling = pause_minority
net_ticktime = 15
"""
"""As docs/operations.md has an operator of a cluster set it."""


class Member(RabbitNode):
    """A node of a cluster: cookie and epmd are the cluster's."""

    def __init__(self, epmd_port: int, cookie: str, *, keeps_epmd: bool) -> None:
        super().__init__(ahead=False)  # no node may go ahead alone
        self._epmd_port = epmd_port
        self._cookie = cookie
        self._keeps_epmd = keeps_epmd

    @property
    def name(self) -> str:
        """As RabbitMQ calls the node."""
        return f"n{self.port}@localhost"

    def join(self, members: list["Member"]) -> None:
        """Have it form a cluster with these, itself among them, when it boots first."""
        nodes = "\n".join(
            f"cluster_formation.classic_config.nodes.{number} = {each.name}"
            for number, each in enumerate(members, 1)
        )
        self._config += _CONFIG.format(nodes=nodes)

    def upgrade(self, verb: str) -> None:
        """What `rabbitmq-upgrade` does: `drain`, `revive`."""
        done = subprocess.run(
            [SCRIPTS / "rabbitmq-upgrade", verb],
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise NodeError(f"rabbitmq-upgrade {verb}: {done.stdout}{done.stderr}")

    def _prepare(self) -> None:
        super()._prepare()
        cookie = self.folder / "home" / ".erlang.cookie"
        cookie.write_text(self._cookie)
        cookie.chmod(0o600)

    def _spawn_epmd(self) -> None:
        if self._keeps_epmd:
            super()._spawn_epmd()


class Cluster:
    """`with Cluster() as cluster:`; every process and file of it ends with the block."""

    def __init__(self, size: int = 3) -> None:
        (epmd_port,) = free_ports(1)
        cookie = secrets.token_hex(10)
        self.nodes = [Member(epmd_port, cookie, keeps_epmd=number == 0) for number in range(size)]
        for node in self.nodes:
            node.join(self.nodes)

    def __enter__(self) -> Self:
        try:
            self.nodes[0].prepare()  # epmd first
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda node: node.start(), self.nodes))
            self.await_all()
            if os.environ.get(AHEAD):
                self._go_ahead()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _go_ahead(self) -> None:
        """Forbid what RabbitMQ deprecates on each node, and keep the metadata in Khepri."""
        self.nodes[0].enable_khepri()
        for node in self.nodes:
            node.forbid_deprecated_features()
            node.restart()
            self.await_all()

    def stop(self) -> None:
        """End all of it; the keeper of epmd last."""
        for node in reversed(self.nodes):
            with suppress(OSError, NodeError):
                node.resume()
            node.stop()

    def urls(self, user: str = "guest", password: str = "guest") -> list[str]:
        """The AMQP URL of each node."""
        return [node.url(user=user, password=password) for node in self.nodes]

    def call(self, path: str) -> Any:
        """What the management API of the first node that answers tells."""
        for node in self.nodes:
            with suppress(NodeError):
                return node.call("GET", path)
        raise NodeError(f"no node answers {path}")

    def running(self) -> set[str]:
        """The names of the nodes that the cluster counts as running."""
        with suppress(NodeError):
            return {each["name"] for each in self.call("nodes") if each["running"]}
        return set()

    def leader_of(self, queue: str) -> Member:
        """The node on which a quorum queue has its leader."""
        found = self.call(f"queues/%2F/{queue}")
        return self.named(found.get("leader") or found["node"])

    def named(self, name: str) -> Member:
        """The node of this name."""
        return next(node for node in self.nodes if node.name == name)

    def mend(self) -> None:
        """Start the nodes that are dead; all run then."""
        for node in self.nodes:
            with suppress(NodeError):  # it runs, or await_all tells
                node.start()
        self.await_all()

    def await_all(self) -> None:
        """Until every node runs, as each of them sees it."""
        await_that(lambda: len(self.running()) == len(self.nodes), FORM_TIMEOUT, "all nodes")


def await_that(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """The seconds until the condition held; AssertionError where it took too long."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - began


def environment() -> dict[str, str]:
    """What a process of the bench is given of this one's environment."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}

"""Who plays: RabbitMQ, an SWF, the daemon and the workers, each a process of its own."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bridge.local import LocalClient
from bridge.local.keeper import Keeper
from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode

SWF_BRIDGE = os.fspath(Path(sys.executable).with_name("swf-bridge"))
WORKER = Path(__file__).parents[1] / "examples/shell/worker.sh"
WORKERS = {"Text.echo.1.0": 3, "Order.check.1.0": 2, "Video.encode.2.0": 6}
"""By routing key."""
EXCHANGE = "swf.activities"
HOLD = 2.0
"""Seconds for which the demo's SWF holds a poll: a drain waits for the polls to end."""


class NotReady(Exception):
    """A part did not come up; the message holds what it printed last."""


class Cast:
    """The processes of one demo; they and their files end with the keeper and the node."""

    def __init__(self, keeper: Keeper, node: RabbitNode) -> None:
        self._keeper = keeper
        self._node = node
        swf_port, self.http_port = free_ports(2)
        self.endpoint = f"http://127.0.0.1:{swf_port}"
        self.swf = LocalClient(self.endpoint)
        self.daemon: subprocess.Popen[bytes] | None = None

    def start_swf(self) -> None:
        """`swf-bridge local`; returns once it answers."""
        listen = self.endpoint.removeprefix("http://")
        command = [SWF_BRIDGE, "local", "--listen", listen, "--hold", str(HOLD)]
        process = self._keeper.spawn(command, env=self._environment(), output="swf")
        self._await("the local SWF", process, "swf", self._swf_answers)

    def start_daemon(self) -> None:
        """`swf-bridge run`; returns once it is ready to take tasks."""
        self.daemon = self._keeper.spawn(
            [SWF_BRIDGE, "run"],
            env=self._environment(
                AWS_ENDPOINT_URL_SWF=self.endpoint,
                AWS_REGION="us-east-1",
                AWS_ACCESS_KEY_ID="demo",
                AWS_SECRET_ACCESS_KEY="demo",
                SWF_BRIDGE_DOMAIN="demo",
                SWF_BRIDGE_TASK_LISTS="demo",
                SWF_BRIDGE_AMQP_URL=self._node.url(),
                SWF_BRIDGE_JOURNAL=str(self._keeper.folder / "journal.db"),
                SWF_BRIDGE_HTTP=f"127.0.0.1:{self.http_port}",
            ),
            output="daemon",
        )
        self._await("the daemon", self.daemon, "daemon", self._daemon_is_ready)

    def start_workers(self) -> None:
        """Several `worker.sh` for each type of activity; each takes one task at a time."""
        for key, count in WORKERS.items():
            queue = self._stand_queue(key)
            for _ in range(count):
                env = self._environment(AMQP_URL=self._node.url(), QUEUE=queue)
                self._keeper.spawn([WORKER], env=env, output="workers")

    def _stand_queue(self, key: str) -> str:
        """A durable queue for a routing key, bound: what RabbitMQ's administrator does otherwise.

        amqp-consume could declare a transient one, which RabbitMQ 4 calls deprecated.
        """
        queue = f"worker.{key}"
        self._node.call("PUT", f"exchanges/%2F/{EXCHANGE}", {"type": "topic", "durable": True})
        self._node.call("PUT", f"queues/%2F/{queue}", {"durable": True})
        self._node.call("POST", f"bindings/%2F/e/{EXCHANGE}/q/{queue}", {"routing_key": key})
        return queue

    def daemon_has_ended(self) -> bool:
        """Whether it was started and does not run any more."""
        return self.daemon is not None and self.daemon.poll() is not None

    def drain_daemon(self, seconds: float = 15.0) -> int | None:
        """SIGTERM; the exit code of the daemon, or None where it took longer."""
        assert self.daemon is not None
        self.daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.daemon.wait(seconds)
        return None

    def printed(self, who: str, lines: int = 5) -> str:
        """The last lines that a part printed."""
        with contextlib.suppress(OSError):
            text = (self._keeper.folder / who).read_text(errors="replace")
            return "\n".join(f"    {line[:2000]}" for line in text.splitlines()[-lines:])
        return ""

    def _swf_answers(self) -> bool:
        with contextlib.suppress(OSError):
            self.swf.counts()
            return True
        return False

    def _daemon_is_ready(self) -> bool:
        url = f"http://127.0.0.1:{self.http_port}/readyz"
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(url, timeout=2) as answer,
        ):
            return bool(answer.status == 200)
        return False

    def _await(
        self, name: str, process: subprocess.Popen[bytes], output: str, ready: Callable[[], bool]
    ) -> None:
        deadline = time.monotonic() + 20
        while not ready():
            if process.poll() is not None:
                raise NotReady(f"{name} ended ({process.returncode}):\n{self.printed(output)}")
            if time.monotonic() > deadline:
                raise NotReady(f"{name} is not ready after 20 s:\n{self.printed(output)}")
            time.sleep(0.05)

    def _environment(self, **settings: str) -> dict[str, str]:
        """Only what a part needs: no setting or file of the caller's is to change the demo."""
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": path, "LANG": "C.UTF-8", "HOME": str(self._keeper.folder), **settings}

"""What an attack is made on: RabbitMQ, SWF, the daemon as a process, and a good worker."""

import json
import os
import random
import secrets
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import pika

from bridge.conformance.bounded import BoundedConnection
from bridge.local import LocalSwf
from bridge.local.keeper import Keeper
from bridge.local.rabbitmq import RabbitNode, free_ports
from tests.documented import documented, documented_topics
from tests.envelopes import Sentry
from tests.faults.daemon import Daemon, until

from .attacker import Attacker
from .good import GoodWork
from .liar import Liar
from .registry import Attack

POLLERS = 4
WARM = 20
"""Good tasks that must be settled before an attack begins."""
PASSWORD = "of-somebody"


class Site:
    """`with Site(node, attack) as site:`; every process, vhost and file of it ends with the block.

    The daemon's login and the attacker's have the permissions of the operations page, where the
    attacker is the page's worker `greeter`.
    """

    def __init__(self, node: RabbitNode, attack: Attack, seed: int = 1) -> None:
        self.node = node
        self.chance = random.Random(seed)
        self._attack = attack
        self._stack = ExitStack()
        self._over_at = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._set_up(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _set_up(self, stack: ExitStack) -> None:
        self.keeper = stack.enter_context(Keeper("hostile-"))
        self.vhost = f"hostile-{secrets.token_hex(4)}"
        self.node.add_vhost(self.vhost)
        stack.callback(self.node.delete_vhost, self.vhost)
        self.swf = stack.enter_context(LocalSwf(hold=3.0, any_domain=True))
        self.liar = Liar(self.swf.endpoint)
        if self._attack.lying:
            stack.enter_context(self.liar)
        self.page = f"127.0.0.1:{free_ports(1)[0]}"
        self._logins = stack
        environment = self._environment(self._login("bridge"))
        if self._attack.tracing:
            environment["SENTRY_DSN"] = stack.enter_context(Sentry()).dsn
            environment["SWF_BRIDGE_SENTRY_TRACES_SAMPLE_RATE"] = "1.0"
        self.daemon = Daemon(self.keeper, environment)
        stack.callback(self.daemon.close)
        self.daemon.start()
        self.page_answers()
        self._start_work(stack)

    def _start_work(self, stack: ExitStack) -> None:
        self.attacker = Attacker(self._login("greeter"), "greeter", "Greeter.say.1.0")
        stack.callback(self.attacker.close)
        self.good = GoodWork(self.swf, self._login("steady"))
        stack.callback(self.good.stop)
        self.good.start()
        until(lambda: self.good.settled() >= WARM, 30, "good work", self.daemon.last_words)

    def _environment(self, url: str) -> dict[str, str]:
        lists = [{"name": "good", "pollers": POLLERS}, {"name": "attacked", "pollers": 2}]
        endpoint = self.liar.endpoint if self._attack.lying else self.swf.endpoint
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": os.fspath(self.keeper.folder),
            "AWS_ENDPOINT_URL_SWF": endpoint,
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "hostile",
            "AWS_SECRET_ACCESS_KEY": "hostile",
            "SWF_BRIDGE_AMQP_URL": url,
            "SWF_BRIDGE_DOMAIN": "demo",
            "SWF_BRIDGE_TASK_LISTS": json.dumps(lists),
            "SWF_BRIDGE_CONTROL": os.fspath(self.keeper.folder / "control.sock"),
            "SWF_BRIDGE_JOURNAL": os.fspath(self.keeper.folder / "journal.db"),
            "SWF_BRIDGE_HTTP": self.page,
            "SWF_BRIDGE_LOG_FORMAT": "json",
            **self._attack.settings,
        }

    def _login(self, name: str) -> str:
        """The URL of a new user with the page's permissions; a worker's are those of `greeter`."""
        known = name if name == "bridge" else "greeter"
        user = f"{name}-{self.vhost}"
        self.node.add_user(user, PASSWORD)
        self._logins.callback(self.node.delete_user, user)
        given = {k: v.replace("greeter", name) for k, v in documented(known).items()}
        self.node.set_permissions(user, vhost=self.vhost, **given)
        if known == "greeter":
            exchange, write, read = documented_topics("greeter")
            read = read.replace("Greeter", name.capitalize())
            topics = {"exchange": exchange, "write": write, "read": read}
            self.node.call("PUT", f"topic-permissions/{quote(self.vhost)}/{quote(user)}", topics)
        return self.node.url(self.vhost, user, PASSWORD)

    # --- for attacks ---

    def begin(self, seconds: float) -> None:
        self._over_at = time.monotonic() + seconds

    def attacking(self, every: float = 0.0) -> bool:
        """Whether to go on; waits a moment first, where the attack is to be made every so often."""
        left = self._over_at - time.monotonic()
        if every and left > 0:
            time.sleep(min(every, left))
        return time.monotonic() < self._over_at

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._over_at - time.monotonic())

    def tokens(self, count: int = 1) -> list[str]:
        """Of so many open tasks that were given to the attacker as its own."""
        for _ in range(count):
            self.swf.submit("Greeter.say", "1.0", task_list="attacked")
        return [self.attacker.take().json["taskToken"] for _ in range(count)]

    def operator(self, *command: str, seconds: float = 10.0) -> None:
        """An operator's command meanwhile; AssertionError where it fails or is slow."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "bridge", *command],
                env=self.daemon.environment,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{' '.join(command)} takes over {seconds:.0f} s") from None
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-300:]!r}"

    def channel(self) -> Any:
        """A channel of an administrator's, to set the stage with."""
        connection = BoundedConnection(pika.URLParameters(self.node.url(self.vhost)))
        self._stack.callback(lambda: connection.is_open and connection.close())
        return connection.channel()

    def page_answers(self, path: str = "/metrics", seconds: float = 2.0, **headers: str) -> str:
        """What the daemon tells over HTTP; AssertionError where that is not in time, or no 200."""
        request = urllib.request.Request(f"http://{self.page}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return str(answer.read().decode())
        except OSError as error:
            raise AssertionError(f"{path} of the daemon's page: {error}") from error

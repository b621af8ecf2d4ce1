"""What an attack is measured on: RabbitMQ, SWF, the daemon, a good worker and the attacker, each a
process of its own.
"""

import json
import os
import secrets
import time
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self
from urllib.parse import quote

from bridge.local import LocalClient
from bridge.local.keeper import Keeper
from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode
from tests.documented import documented, documented_topics
from tests.envelopes import Sentry
from tests.faults.daemon import Daemon, until
from tests.forked import SHELL, python
from tests.worker import EXCHANGE

from . import good
from .apart import Apart
from .registry import Attack
from .site import Ground, make, page_answers

POLLERS = 4
WARM = 20
"""Good tasks that must be settled before an attack begins."""
READY = 60.0
"""Seconds for a process to stand, on a machine that others use too."""
PASSWORD = "of-somebody"


class Stand:
    """`with Stand(node, attack) as stand:`; every process, vhost and file of it ends with that.

    The daemon's login and the attacker's have the permissions of the operations page, where the
    attacker is the page's worker `greeter`.
    """

    def __init__(self, node: RabbitNode, attack: Attack, seed: int = 1) -> None:
        self._node = node
        self._attack = attack
        self._seed = seed
        self._stack = ExitStack()

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

    def begin(self, seconds: float) -> None:
        """Have the attack begin."""
        self.attack.pipe.send((seconds, self.daemon.pid))

    def settled(self) -> int:
        """How many good tasks are."""
        return len(self._swf.tasks(name=good.NAME, state="completed"))

    def times(self, since: float, until: float) -> list[tuple[float, bool]]:
        """Of each good task submitted in between: seconds to its close, or to now if it is open."""
        now = time.time()
        return [
            ((task["closedAt"] or now) - task["scheduledAt"], task["state"] == "completed")
            for task in self._swf.tasks(name=good.NAME, since=since)
            if task["scheduledAt"] <= until
        ]

    def submit_no_more(self) -> None:
        """No more good tasks; those that are there are answered."""
        self._good.pipe.send(good.PAUSE)

    # --- making it ---

    def _set_up(self, stack: ExitStack) -> None:
        self._keeper = stack.enter_context(Keeper("hostile-"))
        self._vhost = f"hostile-{secrets.token_hex(4)}"
        self._node.add_vhost(self._vhost)
        stack.callback(self._node.delete_vhost, self._vhost)
        # Before any topic permission, which with Khepri would keep it from being declared.
        exchange = {"type": "topic", "durable": True}
        self._node.call("PUT", f"exchanges/{quote(self._vhost)}/{EXCHANGE}", exchange)
        endpoint = self._start_swf()
        page, liar = (f"127.0.0.1:{port}" for port in free_ports(2))
        asked = f"http://{liar}" if self._attack.lying else endpoint
        environment = self._environment(self._login(stack, "bridge"), asked, page)
        if self._attack.tracing:
            environment["SENTRY_DSN"] = stack.enter_context(Sentry()).dsn
            environment["SWF_BRIDGE_SENTRY_TRACES_SAMPLE_RATE"] = "1.0"
        ground = Ground(
            self._seed,
            endpoint,
            int(liar.rpartition(":")[2]) if self._attack.lying else 0,
            self._login(stack, "greeter"),
            self._node.url(self._vhost),
            self._node.base,
            self._vhost,
            page,
            environment,
        )
        self.attack = stack.enter_context(Apart(make, self._attack.run, ground))
        self.daemon = Daemon(self._keeper, environment)
        stack.callback(self.daemon.close)
        self._good = stack.enter_context(Apart(good.work, endpoint, self._login(stack, "steady")))
        self.attack.told(READY)
        self.daemon.start()
        page_answers(page, seconds=READY)
        until(lambda: self.settled() >= WARM, READY, "good work", self.daemon.last_words)

    def _start_swf(self) -> str:
        address = f"127.0.0.1:{free_ports(1)[0]}"
        command = ["-m", "bridge", "local", "run", "--listen", address]
        command += ["--hold", "3", "--any-domain"]
        self._swf_process = python(command, env=SHELL, group=self._keeper.group)
        self._swf = LocalClient(f"http://{address}")
        until(self._swf_answers, READY, "the local SWF")
        return self._swf.endpoint

    def _swf_answers(self) -> bool:
        with suppress(OSError):
            self._swf.counts()
            return True
        return False

    def _environment(self, url: str, endpoint: str, page: str) -> dict[str, str]:
        lists = [{"name": "good", "pollers": POLLERS}, {"name": "attacked", "pollers": 2}]
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": os.fspath(self._keeper.folder),
            "AWS_ENDPOINT_URL_SWF": endpoint,
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "hostile",
            "AWS_SECRET_ACCESS_KEY": "hostile",
            "SWF_BRIDGE_AMQP_URL": url,
            "SWF_BRIDGE_DOMAIN": "demo",
            "SWF_BRIDGE_TASK_LISTS": json.dumps(lists),
            "SWF_BRIDGE_CONTROL": os.fspath(self._keeper.folder / "control.sock"),
            "SWF_BRIDGE_JOURNAL": os.fspath(self._keeper.folder / "journal.db"),
            "SWF_BRIDGE_HTTP": page,
            "SWF_BRIDGE_LOG_FORMAT": "json",
            **self._attack.settings,
        }

    def _login(self, stack: ExitStack, name: str) -> str:
        """The URL of a new user with the page's permissions; a worker's are those of `greeter`."""
        known = name if name == "bridge" else "greeter"
        user = f"{name}-{self._vhost}"
        self._node.add_user(user, PASSWORD)
        stack.callback(self._node.delete_user, user)
        given = {k: v.replace("greeter", name) for k, v in documented(known).items()}
        self._node.set_permissions(user, vhost=self._vhost, **given)
        if known == "greeter":
            exchange, write, read = documented_topics("greeter")
            read = read.replace("Greeter", name.capitalize())
            topics = {"exchange": exchange, "write": write, "read": read}
            self._node.call("PUT", f"topic-permissions/{quote(self._vhost)}/{quote(user)}", topics)
        return self._node.url(self._vhost, user, PASSWORD)

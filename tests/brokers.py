"""A vhost for a test or a module of tests, on the private node or on `BROKER_URL`."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from bridge.local.management import HttpApi, NodeError, quoted
from bridge.local.rabbitmq import RabbitNode

BROKER_URL = os.environ.get("BROKER_URL", "")


@dataclass(frozen=True)
class Vhost:
    """A vhost of the test's own, in which the user of `url` may do everything."""

    name: str
    url: str
    api: HttpApi
    """RabbitMQ's management API, as an administrator: users, permissions, `call(…)`."""

    @property
    def major(self) -> int:
        """The first number of RabbitMQ's release."""
        release: str = self.api.call("GET", "overview")["rabbitmq_version"]
        return int(release.partition(".")[0])

    def connections(self, user: str = "") -> list[str]:
        """Names of the user's open connections to it, by default of the user of `url`.

        Told by what RabbitMQ tracks, at once: its list of all connections is made of statistics,
        which come seconds late, and from RabbitMQ 4.3 on not at all where none are collected.
        """
        user = user or unquote(urlsplit(self.url).username or "guest")
        found = self.api.call("GET", f"connections/username/{quoted(user)}")
        return [each["name"] for each in found if each["vhost"] == self.name]

    def cut(self, user: str = "") -> int:
        """Have RabbitMQ close these connections; how many there were."""
        names = self.connections(user)
        for name in names:
            try:
                self.api.call("DELETE", f"connections/{quoted(name)}")
            except NodeError as error:
                if ": 404 " not in str(error):  # it has not ended by itself meanwhile
                    raise
        return len(names)


@contextmanager
def new_vhost(node: Callable[[], RabbitNode]) -> Iterator[Vhost]:
    """A new vhost, deleted at the end; the node is asked for only where there is no BROKER_URL."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    if BROKER_URL:
        api, url = _external(BROKER_URL, name)
    else:
        own = node()
        api, url = own, own.url(name)
    api.add_vhost(name)
    yield Vhost(name, url, api)
    api.delete_vhost(name)


def _external(broker_url: str, vhost: str) -> tuple[HttpApi, str]:
    parts = urlsplit(broker_url)
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    base = os.environ.get("BROKER_API") or f"http://{parts.hostname}:15672"
    return HttpApi(base, user, password), urlunsplit(parts._replace(path=f"/{vhost}"))

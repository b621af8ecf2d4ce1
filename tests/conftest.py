"""A RabbitMQ for the tests that need one: started at the first such test, a new vhost for each.

`BROKER_URL` names a broker to be used instead, whose management API is at `BROKER_API` or at
port 15672 of the same host. Tests of faults that only a node of one's own allows are skipped then.
"""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

import pytest

from bridge.local.rabbitmq import HttpApi, RabbitNode

BROKER_URL = os.environ.get("BROKER_URL", "")


@dataclass(frozen=True)
class Vhost:
    """A vhost of the test's own, in which the user of `url` may do everything."""

    name: str
    url: str
    api: HttpApi
    """RabbitMQ's management API, as an administrator: users, permissions, `call(…)`."""


@pytest.fixture(scope="session")
def broker_node() -> Iterator[RabbitNode]:
    """The private node itself, to kill, pause, restart and alarm; each test leaves it running."""
    if BROKER_URL:
        pytest.skip("a fault that needs a node of our own, and BROKER_URL is set")
    if reason := RabbitNode.unavailable():
        pytest.skip(f"{reason}: `make test` installs it")
    with RabbitNode() as node:
        yield node


@pytest.fixture
def vhost(request: pytest.FixtureRequest) -> Iterator[Vhost]:
    """A new vhost on the private node or on BROKER_URL, deleted after the test."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    if BROKER_URL:
        api, url = _external(BROKER_URL, name)
    else:
        node: RabbitNode = request.getfixturevalue("broker_node")
        api, url = node, node.url(name)
    api.add_vhost(name)
    yield Vhost(name, url, api)
    api.delete_vhost(name)


def _external(broker_url: str, vhost: str) -> tuple[HttpApi, str]:
    parts = urlsplit(broker_url)
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    base = os.environ.get("BROKER_API") or f"http://{parts.hostname}:15672"
    return HttpApi(base, user, password), urlunsplit(parts._replace(path=f"/{vhost}"))

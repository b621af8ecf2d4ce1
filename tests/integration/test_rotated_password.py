"""The login at RabbitMQ, from a credential's file that somebody changes while the daemon runs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Bridge, settings
from tests.brokers import Vhost
from tests.processes import until
from tests.worker import Worker

USER = "rotated"
Give = Callable[[str], None]


@pytest.fixture
def swf() -> Iterator[LocalSwf]:
    with LocalSwf(hold=1.0) as swf:
        yield swf


@pytest.fixture
def give(vhost: Vhost, tmp_path: Path) -> Iterator[Give]:
    """Writes the URL with a password into the credential's file."""
    _, _, host = vhost.url.rpartition("@")
    (tmp_path / "credentials").mkdir()

    def give(password: str) -> None:
        url = f"amqp://{USER}:{password}@{host}\n"
        (tmp_path / "credentials" / "swf_bridge_amqp_url").write_text(url)

    yield give
    vhost.api.call("DELETE", f"users/{USER}")


def let_in(vhost: Vhost, password: str) -> None:
    """From now on RabbitMQ takes this password alone."""
    vhost.api.call("PUT", f"users/{USER}", {"password": password, "tags": ""})
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    vhost.api.call("PUT", f"permissions/{vhost.name}/{USER}", rights)


def test_a_rotated_password_is_taken_at_the_next_try_and_a_refused_login_is_told_as_refused(
    swf: LocalSwf, vhost: Vhost, give: Give, tmp_path: Path
) -> None:
    worker = Worker(vhost.url)
    worker.queue()
    let_in(vhost, "hunter-one")
    give("hunter-one")
    given = settings(swf, "", tmp_path, CREDENTIALS_DIRECTORY=tmp_path / "credentials")
    bridge = Bridge(given).start()
    try:
        first = swf.submit("echo", "1.0")
        taken = worker.take()
        let_in(vhost, "hunter-two")
        assert until(lambda: len(vhost.connections(USER)) >= 4)
        vhost.cut(USER)  # as RabbitMQ's restart does
        bridge.wait("broker.lost", connection="consumer")

        def refused() -> bool:
            checks = bridge.status["checks"]
            return all(
                checks[f"broker {name}"]["state"] == "refused" for name in ("publisher", "consumer")
            )

        assert worker.until(refused), json.dumps(bridge.status["checks"])
        worker.complete(taken)
        second = swf.submit("echo", "1.0")
        half = tmp_path / "credentials" / "swf_bridge_amqp_url"
        half.write_text("amqp:/")  # the last that could work is tried again
        bridge.wait("setting.not_read_anew")
        give("hunter-two")
        worker.complete(worker.take(seconds=30))
        for each in (first, second):
            assert swf.wait_closed(each, 30), bridge.log
        assert "hunter" not in bridge.log
        assert bridge.stop() == 0
    finally:
        bridge.end()
        worker.close()

"""`amqps` against a RabbitMQ that speaks TLS: who is let in, and what the operator is told."""

import logging
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode
from bridge.preflight import broker
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.nodes import Address
from bridge.rabbitmq.publisher import Publisher
from bridge.telemetry.logs import fields_of
from bridge.wiring import Parts
from tests.authority import Authority, Certificate
from tests.environment import settings_of
from tests.integration.running import Running, await_that

PASSWORD = "correct-horse"
CONFIG = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {server.cert}
ssl_options.keyfile = {server.key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
auth_mechanisms.1 = EXTERNAL
auth_mechanisms.2 = PLAIN
ssl_cert_login_from = common_name
"""


@dataclass(frozen=True)
class Site:
    """A RabbitMQ whose certificate is for localhost, and in which the users are told apart."""

    node: RabbitNode
    port: int
    authority: Authority
    server: Certificate

    def url(self, user: str = f"bridge:{PASSWORD}@", host: str = "localhost") -> str:
        return f"amqps://{user}{host}:{self.port}/%2F"

    def logins(self) -> set[tuple[str, ...]]:
        """User, mechanism and TLS version of each connection."""
        told = self.node.ctl("list_connections", "user", "auth_mechanism", "ssl_protocol")
        return {tuple(line.split("\t")) for line in told.splitlines()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if reason := RabbitNode.unavailable():
        pytest.skip(f"{reason}: `make test` installs it")
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    server = authority.issue("server")
    (port,) = free_ports(1)
    config = CONFIG.format(port=port, ca=authority.ca, server=server)
    with RabbitNode(config=config, plugins=["rabbitmq_auth_mechanism_ssl"]) as node:
        for user in ("bridge", "bridge-by-certificate"):
            node.add_user(user, PASSWORD)
            node.set_permissions(user)
        yield Site(node, port, authority, server)


class CountedPublisher(Publisher):
    """Counts how often it tried to connect."""

    lives = 0

    def live(self, address: Address) -> None:
        super().live(address)
        self.lives += 1


def publisher(url: str, tls: Tls) -> CountedPublisher:
    return CountedPublisher([url], tls, [], declare=True)


def told_of_refusal(
    url: str, tls: Tls, running: Running, caplog: pytest.LogCaptureFixture
) -> dict[str, object]:
    """The fields of the one line that says why the broker cannot be had."""
    caplog.set_level(logging.DEBUG, "bridge")
    part = publisher(url, tls)
    running.start(part, await_ready=False)
    await_that(lambda: part.lives > 2)
    assert not part.ready.is_set()
    running.stop()
    (line,) = [each for each in caplog.records if each.getMessage() == "broker.lost"]
    assert PASSWORD not in caplog.text
    fields = fields_of(line)
    assert PASSWORD not in repr(fields)
    assert fields["address"] == url.removeprefix("amqps://").rpartition("@")[2].partition("/")[0]
    return fields


# --- let in ---


def test_a_broker_is_trusted_by_the_authority_that_was_named(site: Site, running: Running) -> None:
    running.start(publisher(site.url(), Tls(ca=site.authority.ca)))
    assert site.logins() & {("bridge", "PLAIN", "tlsv1.2"), ("bridge", "PLAIN", "tlsv1.3")}


def test_a_client_certificate_alone_logs_in_as_the_user_that_it_names(
    site: Site, running: Running
) -> None:
    mine = site.authority.issue("bridge-by-certificate")
    url = site.url(user="")
    running.start(publisher(url, Tls(site.authority.ca, mine.cert, mine.key)))
    assert ("bridge-by-certificate", "EXTERNAL") in {login[:2] for login in site.logins()}


def test_the_settings_reach_the_connection(
    site: Site, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = site.authority.issue("bridge-by-certificate")
    for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "eu-west-1")
    settings = settings_of(
        {
            "SWF_BRIDGE_AMQP_URL": site.url(user=""),
            "SWF_BRIDGE_AMQP_CA_FILE": str(site.authority.ca),
            "SWF_BRIDGE_AMQP_CERT_FILE": str(mine.cert),
            "SWF_BRIDGE_AMQP_KEY_FILE": str(mine.key),
            "SWF_BRIDGE_TASK_LISTS": "demo",
            "SWF_BRIDGE_DOMAIN": "demo",
            "SWF_BRIDGE_JOURNAL": str(tmp_path / "journal.db"),
        }
    )
    parts = Parts(settings)
    for connection in (*parts.needed, *parts.beside):
        running.start(connection)
    running.stop()
    parts.journal.close()


def test_a_certificate_that_was_renewed_on_disk_is_used_from_the_next_connection_on(
    site: Site, running: Running, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "Stranger").issue("bridge-by-certificate")
    url = site.url(user="")
    part = publisher(url, Tls(site.authority.ca, stranger.cert, stranger.key))
    running.start(part, await_ready=False)
    await_that(lambda: bool(part.outage.error))
    renewed = site.authority.issue("bridge-by-certificate")
    for new, old in ((renewed.cert, stranger.cert), (renewed.key, stranger.key)):
        shutil.copy(new, old)
    await_that(part.ready.is_set)


# --- refused ---


def test_a_broker_that_no_known_authority_signed_is_refused(
    site: Site, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    told = told_of_refusal(site.url(), Tls(), running, caplog)
    assert "certificate verify failed: self-signed certificate in" in str(told["error"])


def test_a_certificate_for_another_host_is_refused(
    site: Site, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    url = site.url(host="127.0.0.1")
    told = told_of_refusal(url, Tls(ca=site.authority.ca), running, caplog)
    assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in str(told["error"])


def test_a_check_says_what_certificates_lack_that_newer_pythons_refuse(
    tmp_path: Path, running: Running
) -> None:
    loose = Authority(tmp_path, "Loose", strict=False)
    server = loose.issue("server")
    (port,) = free_ports(1)
    config = CONFIG.format(port=port, ca=loose.ca, server=server)
    with RabbitNode(config=config, plugins=["rabbitmq_auth_mechanism_ssl"]):
        part = publisher(f"amqps://localhost:{port}/%2F", Tls(ca=loose.ca))
        running.start(part, await_ready=False)
        if sys.version_info < (3, 13):  # they are taken
            await_that(part.ready.is_set)
            return
        await_that(lambda: "certificate verify failed" in part.outage.error)
        settings = settings_of(
            {
                "SWF_BRIDGE_AMQP_URL": f"amqps://localhost:{port}/%2F",
                "SWF_BRIDGE_AMQP_CA_FILE": str(loose.ca),
                "SWF_BRIDGE_TASK_LISTS": "demo",
                "SWF_BRIDGE_DOMAIN": "demo",
            }
        )
        told = [each.text for each in broker.declare(settings)]
    assert any("authorityKeyIdentifier" in text for text in told), told


def test_an_expired_certificate_is_refused(
    site: Site, running: Running, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    kept = {path: path.read_bytes() for path in (site.server.cert, site.server.key)}
    site.authority.issue("server", expired=True)
    site.node.eval("ssl:clear_pem_cache().")
    try:
        told = told_of_refusal(site.url(), Tls(ca=site.authority.ca), running, caplog)
    finally:
        for path, text in kept.items():
            path.write_bytes(text)
        site.node.eval("ssl:clear_pem_cache().")
    assert "certificate has expired" in str(told["error"])


def test_a_client_certificate_of_a_stranger_is_refused_by_the_broker(
    site: Site, running: Running, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "Stranger").issue("bridge-by-certificate")
    tls = Tls(site.authority.ca, stranger.cert, stranger.key)
    told = told_of_refusal(site.url(user=""), tls, running, caplog)
    # With TLS 1.3 the refusal comes after the handshake: the end may overtake the alert.
    assert "alert unknown ca" in str(told["error"]) or "EOF occurred" in str(told["error"])


def test_a_user_that_the_broker_does_not_know_is_refused(
    site: Site, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = site.authority.issue("nobody")
    tls = Tls(site.authority.ca, nobody.cert, nobody.key)
    told = told_of_refusal(site.url(user=""), tls, running, caplog)
    assert "ACCESS_REFUSED" in str(told["error"])


def test_a_wrong_password_is_refused_and_stands_in_no_log(
    site: Site, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    url = site.url(user=f"bridge:{PASSWORD}-no@")
    told = told_of_refusal(url, Tls(ca=site.authority.ca), running, caplog)
    assert "ACCESS_REFUSED" in str(told["error"])


def test_a_broker_without_tls_at_that_port_is_told_apart(
    site: Site, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"amqps://bridge:{PASSWORD}@localhost:{site.node.port}/%2F"
    told = told_of_refusal(url, Tls(ca=site.authority.ca), running, caplog)
    assert told["error"] != "AMQPConnectionError"

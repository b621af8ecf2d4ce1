"""The service as `make install` puts it on a server, in a box, with RabbitMQ and an SWF outside."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from tests.brokers import Vhost
from tests.systemd import staging
from tests.systemd.box import Box
from tests.systemd.service import Service, Settings
from tests.worker import Worker


@pytest.fixture(scope="session")
def box(installed: Path) -> Iterator[Box]:
    """A box in which the service is installed and does not run."""
    binds = {installed / "opt/swf-bridge": "/opt/swf-bridge", installed / "usr/local": "/usr/local"}
    with Box(binds, installed / "etc") as box:
        yield box


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make install` makes of a server with an older version, below a folder."""
    if reason := Box.unavailable():
        pytest.skip(f"no systemd can be booted here: {reason}")
    folder = tmp_path_factory.mktemp("installed")
    staging.older_version(folder)
    staging.stage(folder)
    return folder


@pytest.fixture
def swf() -> Iterator[LocalSwf]:
    """An SWF whose empty polls are held for a second only."""
    with LocalSwf(hold=1.0) as swf:
        yield swf


@pytest.fixture
def worker(vhost: Vhost) -> Iterator[Worker]:
    """A worker whose queue `work` gets every task."""
    worker = Worker(vhost.url)
    worker.queue()
    yield worker
    worker.close()


@pytest.fixture
def instance(box: Box) -> Iterator[Callable[[str], Service]]:
    """Instances of the template, forgotten at the end."""
    with ExitStack() as ends:

        def instance(name: str) -> Service:
            service = Service(box, f"swf-bridge@{name}.service", f"{name}.env")
            ends.callback(service.forget)
            return service

        yield instance
    # systemd leaves the folders above those of instances, in the way of the single unit's links.
    box.run("rmdir", "/run/swf-bridge", "/var/lib/swf-bridge", check=False)


@pytest.fixture
def peer(box: Box) -> Iterator[Service]:
    """The unit `swf-bridge-peer@2.service`, forgotten at the end."""
    service = Service(box, "swf-bridge-peer@2.service", "peer-2.env")
    yield service
    service.forget()


@pytest.fixture
def service(box: Box) -> Iterator[Service]:
    """The unit `swf-bridge.service`, forgotten at the end."""
    service = Service(box, "swf-bridge.service", "bridge.env")
    yield service
    service.forget()


@pytest.fixture
def settings(swf: LocalSwf) -> Settings:
    """Settings that work; `more` are ours without their prefix, in lower case; None leaves out."""

    def settings(swf: LocalSwf = swf, **more: object) -> Mapping[str, object]:
        ours = {"domain": "demo", "task_lists": "demo", "http": "off", **more}
        return {
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_ENDPOINT_URL_SWF": swf.endpoint,
        } | {f"SWF_BRIDGE_{name.upper()}": value for name, value in ours.items()}

    return settings

"""The container: built by buildah on a Debian made by mmdebstrap, and run by podman.

`make packages` runs this: it takes minutes, and root. `DEB` names a package that is
built already. Where podman cannot run a container here, the tests are skipped, and say why.
"""

import json
import os
import resource
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from tests.brokers import Vhost
from tests.packages import plain, source
from tests.processes import until
from tests.worker import Worker

pytestmark = pytest.mark.timeout(1200)

BASE = "localhost/debian:here"
IMAGE = "localhost/swf-bridge:tried"
USER = 10001
NAME = "swf-bridge-tried"


class Store:
    """Images and containers below a folder of their own, and nothing of them left."""

    def __init__(self, folder: Path) -> None:
        self.options = ("--root", str(folder / "store"), "--runroot", str(folder / "run"))
        nofile = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        # podman's defaults are above what a root of a container itself may set.
        self._limits = (f"--ulimit=nofile={nofile}:{nofile}", "--ulimit=nproc=4096:4096")

    def buildah(self, *argv: str | Path) -> str:
        return source.run("buildah", *self.options, *argv, cwd=source.ROOT).strip()

    def podman(self, *argv: str) -> subprocess.CompletedProcess[str]:
        given = ("podman", *self.options, "--cgroup-manager", "cgroupfs", "--runtime", "runc")
        return subprocess.run([*given, *argv], capture_output=True, text=True, check=False)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """A container as the docs have it; RabbitMQ and SWF are on this machine's loopback."""
        hard = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
        return self.podman("run", *self._limits, "--network=host", *hard, *argv)

    def end(self) -> None:
        self.podman("rm", "--force", "--all", "--time=0", "--volumes")
        self.podman("rmi", "--force", "--all")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if os.geteuid() != 0:
        pytest.skip("not root")
    store = Store(tmp_path_factory.mktemp("containers"))
    try:
        make_base(store, tmp_path_factory.mktemp("base") / "base.tar")
        tried = store.run("--rm", BASE, "true")
        if tried.returncode:
            pytest.skip(f"untried: podman runs no container here: {tried.stderr.strip()[-300:]}")
        yield store
    finally:
        store.end()


def make_base(store: Store, packed: Path) -> None:
    """A plain Debian, of the release that this machine has."""
    plain.make(packed, "ca-certificates", "python3")
    container = store.buildah("from", "scratch")
    store.buildah("add", container, packed, "/")
    store.buildah("commit", "--quiet", "--rm", container, BASE)


@pytest.fixture(scope="module")
def image(store: Store) -> str:
    """The image that `make container` builds, on that base."""
    given = {"STORE": " ".join(store.options), "BASE": BASE, "TAG": IMAGE, "LINTIAN": "no"}
    assert source.run("tools/container", cwd=source.ROOT, **given).splitlines()[-1] == IMAGE
    return IMAGE


@pytest.fixture
def swf() -> Iterator[LocalSwf]:
    with LocalSwf(hold=3.0) as swf:
        yield swf


def configured(tmp_path: Path, swf: LocalSwf, vhost: Vhost) -> tuple[str, str]:
    """A file of settings, as the docs have it, and the address of the page."""
    (port,) = free_ports(1)
    settings = {
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_ENDPOINT_URL_SWF": swf.endpoint,
        "SWF_BRIDGE_DOMAIN": "demo",
        "SWF_BRIDGE_TASK_LISTS": "demo",
        "SWF_BRIDGE_AMQP_URL": vhost.url,
        "SWF_BRIDGE_HTTP": f"127.0.0.1:{port}",
    }
    path = tmp_path / "bridge.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return str(path), f"http://127.0.0.1:{port}"


def lives(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/livez", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def test_it_says_its_version_and_is_nobody_who_could_write_to_its_root(
    store: Store, image: str
) -> None:
    assert store.run("--rm", image, "--version").stdout.startswith("swf-bridge ")
    told = store.podman("image", "inspect", image).stdout
    config = json.loads(told)[0]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Config"]["Volumes"] == {"/var/lib/swf-bridge": {}}
    folder = "/var/lib/swf-bridge"
    ask = f"id -u; touch /etc/new 2>&1; stat -c %u:%a {folder}; touch {folder}/new"
    done = store.run("--rm", "--entrypoint=/bin/sh", image, "-c", ask)
    number, refused, owner = done.stdout.splitlines()
    assert (number, owner, done.returncode) == (str(USER), f"{USER}:700", 0)
    assert "Read-only file system" in refused


def test_it_carries_tasks_drains_at_sigterm_and_goes_on_with_the_journal_on_its_volume(
    store: Store, image: str, tmp_path: Path, swf: LocalSwf, vhost: Vhost
) -> None:
    worker = Worker(vhost.url)
    worker.queue()
    env_file, address = configured(tmp_path, swf, vhost)
    named = (
        "--detach",
        f"--name={NAME}",
        f"--env-file={env_file}",
        "--volume=kept:/var/lib/swf-bridge",
    )

    def start() -> None:
        done = store.run(*named, image)
        assert done.returncode == 0, done.stderr
        assert until(lambda: lives(address), 60), store.podman("logs", NAME).stderr

    def stop() -> list[str]:
        """Stop it as an orchestrator does, and return what it logged."""
        stopped = store.podman("stop", "--time=100", NAME)
        assert stopped.returncode == 0, stopped.stderr
        state = json.loads(store.podman("inspect", NAME).stdout)[0]["State"]
        logs = store.podman("logs", NAME)
        assert state["ExitCode"] == 0, logs.stderr
        assert store.podman("rm", NAME).returncode == 0
        return (logs.stdout + logs.stderr).splitlines()

    start()
    done = swf.submit("greet", input="hello")
    worker.complete(worker.take(seconds=60), "hello yourself")
    assert swf.wait_closed(done, 30)
    healthy = store.podman("healthcheck", "run", NAME)
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    status = store.podman("exec", NAME, "swf-bridge", "status", "--json")
    assert json.loads(status.stdout)["lists"], status.stderr
    kept = swf.submit("greet", input="again")
    task = worker.take(seconds=30)
    events = {json.loads(line)["event"] for line in stop() if line.startswith("{")}
    assert {"daemon.draining", "daemon.stopped"} <= events

    start()  # a new container: the task in hand stands in the journal
    listed = store.podman("exec", NAME, "swf-bridge", "tasks", "list", "--json").stdout
    assert [json.loads(line)["state"] for line in listed.splitlines()] == ["published"]
    worker.complete(task)
    assert swf.wait_closed(kept, 30)
    stop()
    worker.close()


def test_a_daemon_that_does_not_live_is_not_healthy(
    store: Store, image: str, tmp_path: Path, swf: LocalSwf, vhost: Vhost
) -> None:
    env_file, _ = configured(tmp_path, swf, vhost)
    entry = ("--detach", f"--name={NAME}", f"--env-file={env_file}", "--entrypoint=/bin/sleep")
    assert store.run(*entry, image, "1000").returncode == 0
    assert store.podman("healthcheck", "run", NAME).returncode != 0
    assert store.podman("rm", "--force", "--time=0", NAME).returncode == 0

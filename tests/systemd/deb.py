"""The Debian package under the real apt and systemd: first minute, upgrade under load, and end.

`make packages` runs this: it takes minutes. `DEB` names the package to be tried; without it one is
built.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from bridge.local import LocalSwf
from tests.brokers import Vhost
from tests.processes import until
from tests.systemd.box import Box
from tests.systemd.service import Service, Settings
from tests.systemd.staging import ROOT
from tests.worker import Worker

pytestmark = pytest.mark.timeout(900)

OLDER = "0.0.1"
LEFT_BEHIND = "opt/swf-bridge/lib/left_behind.py"
JOURNAL = "/var/lib/swf-bridge/journal.db"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of this checkout."""
    if given := os.environ.get("DEB"):
        return Path(given).resolve()
    if reason := Box.unavailable():
        pytest.skip(f"no systemd can be booted here: {reason}")
    folder = tmp_path_factory.mktemp("deb")
    environ = {
        **os.environ,
        "OUT": str(folder),
        "LINTIAN": "no",
        "DPKG_DEB_COMPRESSOR_TYPE": "none",
    }
    built = subprocess.run(
        ["make", "deb"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-3000:]
    return Path(built.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def older(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An older version of it, with a file that the newer one has not."""
    folder = tmp_path_factory.mktemp("older")
    tree, made = folder / "tree", folder / "swf-bridge_older.deb"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub("(?m)^Version: .*", f"Version: {OLDER}~", control.read_text()))
    (tree / LEFT_BEHIND).write_text("")
    (version,) = tree.glob("opt/swf-bridge/lib/python3.*/site-packages/bridge/_version.py")
    told = re.sub(
        "(?m)^__version__ = .*", f"__version__ = version = '{OLDER}'", version.read_text()
    )
    version.write_text(told)
    for compiled in version.parent.glob("__pycache__/_version.*"):
        compiled.unlink()
    subprocess.run(["dpkg-deb", "-Znone", "-b", tree, made], check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def server(package: Path, older: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A server without a bridge, with both packages in /srv."""
    debs = tmp_path_factory.mktemp("debs")
    shutil.copy(package, debs / "newer.deb")
    shutil.copy(older, debs / "older.deb")
    with Box({debs: "/srv/debs"}, packages=True) as box:
        yield box


@pytest.fixture
def service(server: Box) -> Service:
    return Service(server, "swf-bridge.service", "bridge.env")


def apt(box: Box, *words: str) -> str:
    told = box.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q", *words)
    return told.stdout + told.stderr


def versions(box: Box) -> tuple[str, str]:
    """That of the command, and that of the daemon which runs."""
    command = box.run("swf-bridge", "--version").stdout.split()[1]
    daemon = json.loads(box.run("swf-bridge", "status", "--json", check=False).stdout)
    return command, daemon["version"]


class Load:
    """Tasks that come all the time, and a worker that completes each."""

    def __init__(self, swf: LocalSwf, worker: Worker) -> None:
        self._swf, self._worker = swf, worker
        self._over = threading.Event()
        self.ids: list[str] = []
        self._threads = [threading.Thread(target=each) for each in (self._submit, self._work)]

    def __enter__(self) -> "Load":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()

    def completed(self) -> int:
        return len(self._swf.tasks(state="completed", limit=100_000))

    def _submit(self) -> None:
        while not self._over.wait(0.02):
            self.ids.append(self._swf.submit("greet", input=str(len(self.ids))))

    def _work(self) -> None:
        deadline = time.monotonic() + 120
        while not self._over.is_set() or self.completed() < len(self.ids):
            if time.monotonic() > deadline:
                return
            if (task := self._worker.take_now()) is not None:
                self._worker.complete(task)
            else:
                time.sleep(0.01)


def test_installed_nothing_runs_and_a_task_is_done_once_it_is_configured_and_enabled(
    server: Box, service: Service, settings: Settings, swf: LocalSwf, vhost: Vhost, worker: Worker
) -> None:
    begun = time.monotonic()
    apt(server, "install", "/srv/debs/older.deb")
    installed = time.monotonic()
    assert service.show("ActiveState", "UnitFileState") == ("inactive", "disabled")
    stands = server.path("/etc/swf-bridge/bridge.env").stat()
    folder = server.path("/etc/swf-bridge").stat()
    assert (stands.st_mode & 0o777, folder.st_mode & 0o777) == (0o600, 0o700)
    service.configure(settings(amqp_url=vhost.url))
    server.systemctl("enable", "--now", "swf-bridge")
    task = swf.submit("greet", input="hello")
    worker.complete(worker.take(seconds=30), "hello yourself")
    assert swf.wait_closed(task, 20)
    done = time.monotonic()
    assert swf.task(task, payload=True)["result"] == "hello yourself"
    print(f"apt {installed - begun:.1f} s, to the first task {done - installed:.1f} s")


def test_an_upgrade_under_load_leaves_the_daemon_alone_until_its_restart_and_loses_nothing(
    server: Box, service: Service, settings: Settings, swf: LocalSwf, vhost: Vhost, worker: Worker
) -> None:
    service.configure(settings(amqp_url=vhost.url))
    server.systemctl("restart", service.unit)
    assert server.path(f"/{LEFT_BEHIND}").exists()
    with Load(swf, worker) as load:
        assert until(lambda: load.completed() > 20)
        before = service.pid
        told = apt(server, "install", "/srv/debs/newer.deb")
        assert "the daemon runs on in its old version" in told
        assert service.pid == before
        count = load.completed()
        assert until(lambda: load.completed() > count + 20), "the old daemon does not go on"
        # What it has not loaded yet would be of the new version: have it do something else.
        for each in vhost.api.call("GET", f"vhosts/{vhost.name}/connections"):
            if (
                each.get("client_properties", {})
                .get("connection_name", "")
                .startswith("swf-bridge")
            ):
                vhost.api.call("DELETE", f"connections/{quote(each['name'])}")
        count = load.completed()
        assert until(lambda: load.completed() > count + 20, 30), "it does not connect again"
        newer, running = versions(server)
        assert (running, newer != OLDER) == (OLDER, True)
        server.systemctl("restart", service.unit)
        assert versions(server) == (newer, newer)
        count = load.completed()
        assert until(lambda: load.completed() > count + 20, 30)
    assert load.completed() == len(load.ids) > 100
    assert not server.path(f"/{LEFT_BEHIND}").exists()
    assert service.pid != before


def test_manual_and_completion_stand_where_they_are_looked_for(server: Box) -> None:
    for name, section in (("swf-bridge", "1"), ("swf-bridge.env", "5")):
        assert server.run("man", "--where", section, name).stdout.startswith("/usr/share/man/")
    for place in (
        "bash-completion/completions/swf-bridge",
        "fish/vendor_completions.d/swf-bridge.fish",
        "zsh/vendor-completions/_swf-bridge",
        "doc/swf-bridge/swf-bridge.cdx.json",
        "doc/swf-bridge/licences.txt",
        "doc/swf-bridge/documents/docs/alerts.md",
    ):
        server.run("test", "-s", f"/usr/share/{place}")


def test_removed_it_drains_and_leaves_settings_and_journal(server: Box, service: Service) -> None:
    settings = server.path(service.settings).read_text()
    apt(server, "remove", "swf-bridge")
    assert service.show("ActiveState", "LoadState") == ("inactive", "not-found")
    assert server.path(service.settings).read_text() == settings
    assert server.run("test", "-s", JOURNAL).returncode == 0
    for gone in ("/usr/bin/swf-bridge", "/opt/swf-bridge/bin"):
        assert not os.path.lexists(server.path(gone))


def test_purged_it_leaves_nothing(server: Box) -> None:
    apt(server, "purge", "swf-bridge")
    left = server.run(
        "find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/srv", ")", "-prune", "-o",
        "-name", "*swf-bridge*", "-print",
    ).stdout  # fmt: skip
    more = server.run("find", "/usr", "/var", "/run", "-xdev", "-name", "*swf-bridge*").stdout
    assert (left + more).splitlines() == []

"""The Debian package on a new Debian, under the real apt and systemd: first minute, upgrade under
load, and end; and what a person has of it in a terminal.

`make packages` runs this: it takes minutes. `DEB` names the package to be tried; without it one is
built. How long each step took is told.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from bridge.local import LocalSwf
from tests.brokers import Vhost
from tests.packages import plain
from tests.packages.terminal import Terminal
from tests.packages.test_manual import PARTLY, WANTED
from tests.processes import until
from tests.systemd.box import Box
from tests.systemd.service import Service
from tests.systemd.staging import ROOT
from tests.unit.test_cli_help import COMMANDS
from tests.worker import Worker

pytestmark = pytest.mark.timeout(900)

OLDER = "0.0.1"
LEFT_BEHIND = "opt/swf-bridge/lib/left_behind.py"
JOURNAL = "/var/lib/swf-bridge/journal.db"
AT = "at> "
BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"
SHELLS = {
    "bash": (".bashrc", f"PS1='{AT}'\nbind 'set bell-style none'\n. {BASH_COMPLETION}\n"),
    "zsh": (".zshrc", f"PS1='{AT}'\nautoload -Uz compinit\ncompinit -u -D\n"),
    "fish": (
        ".config/fish/config.fish",
        f"function fish_prompt; echo '{AT}'; end\nset -g fish_greeting\n",
    ),
}
"""The file by which a person has a shell complete, and what stands in it."""
CREDENTIALS = "[default]\naws_access_key_id = local\naws_secret_access_key = local\n"
DROP_IN = """[Service]
LoadCredential=aws:/etc/swf-bridge/aws_credentials
Environment=AWS_SHARED_CREDENTIALS_FILE=%d/aws
"""
"""Of systemd/credentials.conf.example."""

Step = Callable[[str], AbstractContextManager[None]]


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
    """A Debian that has only just been made, with both packages in /srv."""
    debs = tmp_path_factory.mktemp("debs")
    shutil.copy(package, debs / "newer.deb")
    shutil.copy(older, debs / "older.deb")
    base = tmp_path_factory.mktemp("debian") / "root"
    plain.make(base, "ca-certificates", "systemd")
    with Box({debs: "/srv/debs"}, base=base) as box:
        yield box
    shutil.rmtree(base)


@pytest.fixture
def service(server: Box) -> Service:
    return Service(server, "swf-bridge.service", "bridge.env")


@pytest.fixture
def tell(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a line for whoever runs this."""

    def tell(line: str) -> None:
        with capfd.disabled():
            print(f"\n  {line}", end="", flush=True)

    return tell


@pytest.fixture
def step(tell: Callable[[str], None]) -> Step:
    """Tells what was done, and how long it took."""

    @contextmanager
    def step(what: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        tell(f"{time.monotonic() - begun:6.2f} s  {what}")

    return step


def apt(box: Box, *words: str) -> str:
    told = box.run(
        "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q", *words, seconds=600
    )
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
        given_up = float("inf")
        while not self._over.is_set() or self.completed() < len(self.ids):
            if self._over.is_set():
                given_up = min(given_up, time.monotonic() + 60)
            if time.monotonic() > given_up:
                return
            if (task := self._worker.take_now()) is not None:
                self._worker.complete(task)
            else:
                time.sleep(0.01)


def test_installed_nothing_runs_and_a_task_is_done_once_it_is_configured_and_enabled(
    server: Box, service: Service, swf: LocalSwf, vhost: Vhost, worker: Worker, step: Step
) -> None:
    with step("apt-get update, on a new Debian"):
        apt(server, "update")
    with step("apt-get install ./swf-bridge_….deb, and the Python that it needs"):
        apt(server, "install", "/srv/debs/older.deb")
    assert service.show("ActiveState", "UnitFileState") == ("inactive", "disabled")
    stands = server.path("/etc/swf-bridge/bridge.env").stat()
    folder = server.path("/etc/swf-bridge").stat()
    assert (stands.st_mode & 0o777, folder.st_mode & 0o777) == (0o600, 0o700)
    with step("five lines of settings, credentials, and swf-bridge check --connect --service"):
        configure(service, swf, vhost)
        checked = server.run("swf-bridge", "check", "--connect", "--service", check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    with step("systemctl enable --now swf-bridge"):
        server.systemctl("enable", "--now", "swf-bridge")
    with step("the first task from SWF to a worker and back"):
        task = swf.submit("greet", input="hello")
        worker.complete(worker.take(seconds=30), "hello yourself")
        assert swf.wait_closed(task, 20)
    assert swf.task(task, payload=True)["result"] == "hello yourself"


def configure(service: Service, swf: LocalSwf, vhost: Vhost) -> None:
    """As the README has it; the credentials as the example beside the units has them."""
    lines = (
        "AWS_REGION=eu-west-1",
        f"AWS_ENDPOINT_URL_SWF={swf.endpoint}",
        "SWF_BRIDGE_DOMAIN=demo",
        "SWF_BRIDGE_TASK_LISTS=demo",
        f"SWF_BRIDGE_AMQP_URL={vhost.url}",
    )
    with service.box.path(service.settings).open("a") as file:
        file.write("\n".join(("", *lines, "")))
    service.box.write("/etc/swf-bridge/aws_credentials", CREDENTIALS, 0o600)
    service.drop_in(DROP_IN)


def test_an_upgrade_under_load_leaves_the_daemon_alone_until_its_restart_and_loses_nothing(
    server: Box,
    service: Service,
    swf: LocalSwf,
    vhost: Vhost,
    worker: Worker,
    step: Step,
    tell: Callable[[str], None],
) -> None:
    configure(service, swf, vhost)
    server.systemctl("restart", service.unit)
    assert server.path(f"/{LEFT_BEHIND}").exists()
    with Load(swf, worker) as load:
        assert until(lambda: load.completed() > 20)
        before = service.pid
        with step("apt-get install of a newer version, under load"):
            told = apt(server, "install", "/srv/debs/newer.deb")
        assert "the daemon runs on in its old version" in told
        assert service.pid == before
        count = load.completed()
        assert until(lambda: load.completed() > count + 20), "the old daemon does not go on"
        # What it has not loaded yet would be of the new version: have it do something else.
        lose_connections(vhost)
        count = load.completed()
        assert until(lambda: load.completed() > count + 20, 30), "it does not connect again"
        newer, running = versions(server)
        assert (running, newer != OLDER) == (OLDER, True)
        with step("systemctl restart swf-bridge, under load"):
            server.systemctl("restart", service.unit)
        assert versions(server) == (newer, newer)
        count = load.completed()
        assert until(lambda: load.completed() > count + 20, 30)
    tell(f"{len(load.ids)} tasks over the upgrade, {len(load.ids) - load.completed()} lost")
    assert load.completed() == len(load.ids) > 100
    assert not server.path(f"/{LEFT_BEHIND}").exists()
    assert service.pid != before


def lose_connections(vhost: Vhost) -> None:
    """Have RabbitMQ close each of the daemon's."""
    for each in vhost.api.call("GET", f"vhosts/{vhost.name}/connections"):
        name = each.get("client_properties", {}).get("connection_name", "")
        if name.startswith("swf-bridge"):
            vhost.api.call("DELETE", f"connections/{quote(each['name'])}")


@pytest.fixture(scope="module")
def person(server: Box) -> Callable[..., Terminal]:
    """Starts a shell on a terminal of the server, for a person who has installed what they want."""
    apt(server, "install", "--no-install-recommends", "bash-completion", "fish", "man-db", "zsh")
    for path, text in SHELLS.values():
        server.write(f"/root/{path}", f"{text}echo READY\n")

    def person(shell: str) -> Terminal:
        given = ("env", "--chdir=/root", "HOME=/root", "TERM=xterm", "MANPAGER=cat")
        return Terminal(*server.argv(*given, shell, "-i"), env={}, cwd=Path("/"))

    return person


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_shows_the_commands(person: Callable[..., Terminal], shell: str, step: Step) -> None:
    with person(shell) as terminal:
        terminal.see("READY", AT)
        with step(f"Tab after `{PARTLY}` in {shell}"):
            terminal.type(f"{PARTLY}\t\t")
            told = set(terminal.see(*WANTED).split())
        assert told & set(COMMANDS) == WANTED


def test_man_and_help_tell_what_there_is(person: Callable[..., Terminal], step: Step) -> None:
    with person("bash") as terminal:
        terminal.see("READY", AT)
        with step("man swf-bridge"):
            terminal.type("man swf-bridge; echo ALL''-READ\n")
            assert "EXIT STATUS" in re.sub(r".\x08", "", terminal.see("ALL-READ", seconds=60))
        with step("swf-bridge tasks --help"):
            terminal.type("swf-bridge tasks --help; echo ALL''-READ\n")
            told = terminal.see("ALL-READ", seconds=60)
        assert ("examples:" in told, "exit codes:" in told) == (True, True)


def test_manual_and_completion_stand_where_they_are_looked_for(
    server: Box, person: Callable[..., Terminal]
) -> None:
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


def test_removed_it_drains_and_leaves_settings_and_journal(
    server: Box, service: Service, step: Step
) -> None:
    settings = server.path(service.settings).read_text()
    with step("apt-get remove, of a daemon that runs"):
        apt(server, "remove", "swf-bridge")
    assert service.show("ActiveState", "LoadState") == ("inactive", "not-found")
    assert server.path(service.settings).read_text() == settings
    assert server.run("test", "-s", JOURNAL).returncode == 0
    for gone in ("/usr/bin/swf-bridge", "/opt/swf-bridge/bin"):
        assert not os.path.lexists(server.path(gone))


def test_purged_it_leaves_nothing(server: Box, service: Service, step: Step) -> None:
    server.run("rm", "-r", f"/run/systemd/system/{service.unit}.d")  # is the operator's own
    with step("apt-get purge"):
        apt(server, "purge", "swf-bridge")
    left = server.run(
        "find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/srv", ")", "-prune", "-o",
        "-name", "*swf-bridge*", "-print",
    ).stdout  # fmt: skip
    more = server.run("find", "/run", "-xdev", "-name", "*swf-bridge*").stdout
    assert (left + more).splitlines() == []

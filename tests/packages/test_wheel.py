"""Wheel and source archive: what is in them, and that what is installed of them does its work."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from tests.brokers import Vhost
from tests.packages import source
from tests.packages.conftest import VERSION
from tests.processes import until
from tests.worker import Worker

pytestmark = pytest.mark.timeout(600)

SETTINGS = {
    "AWS_REGION": "eu-west-1",
    "SWF_BRIDGE_DOMAIN": "demo",
    "SWF_BRIDGE_TASK_LISTS": "demo",
    "SWF_BRIDGE_HTTP": "off",
}


@pytest.fixture(scope="module", params=["uv", pytest.param("pipx", marks=pytest.mark.long)])
def program(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The command as `uv tool install` and `pipx install` make it of the wheel alone."""
    folder = tmp_path_factory.mktemp(request.param)
    (install_by_uv if request.param == "uv" else install_by_pipx)(wheel, folder)
    return folder / "bin" / "swf-bridge"


def install_by_uv(wheel: Path, folder: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    given = {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    locked = source.ROOT / "requirements.lock"
    install = (uv, "tool", "install", "--system-certs", "--constraints", locked)
    source.run(*install, "--python", sys.executable, f"{wheel}[fast]", cwd=folder, **given)


def install_by_pipx(wheel: Path, folder: Path) -> None:
    pipx = shutil.which("pipx")
    if pipx is None:
        pytest.skip("no pipx")
    locked = re.findall(r"^\S+==\S+", (source.ROOT / "requirements.lock").read_text(), re.MULTILINE)
    versions = folder / "constraints.txt"  # with hashes pip would want one of the wheel, too
    versions.write_text("\n".join(locked))
    given = {"PIPX_HOME": str(folder / "home"), "PIPX_BIN_DIR": str(folder / "bin")}
    install = (pipx, "install", "--python", sys.executable, f"--pip-args=--constraint={versions}")
    source.run(*install, f"{wheel}[fast]", cwd=folder, **given)


def told(program: Path, *args: str, **environ: str) -> str:
    done = subprocess.run(
        [program, *args], env={"PATH": "/usr/bin:/bin", **environ}, cwd=program.parent,
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_what_the_program_reads_and_nothing_of_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"bridge", f"swf_bridge-{VERSION}.dist-info"}
    tracked = source.run("git", "ls-files", "bridge", cwd=source.ROOT).splitlines()
    assert {n for n in names if n.startswith("bridge/")} == {*tracked, "bridge/_version.py"}


def test_the_source_archive_holds_units_settings_and_docs(sdist: Path, tagged: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = source.run("git", "ls-files", cwd=tagged).splitlines()
    assert set(tracked) <= names
    assert {"systemd/swf-bridge.service", "config/bridge.env.example", "docs/messages.md"} <= names


def test_what_the_index_shows_of_them_is_in_order(wheel: Path, sdist: Path) -> None:
    check = (sys.executable, "-m", "twine", "--no-color", "check", "--strict", wheel, sdist)
    assert source.run(*check, cwd=wheel.parent).count("PASSED") == 2


def test_two_builds_of_the_wheel_are_equal(wheel: Path, again: Path, tmp_path: Path) -> None:
    twin = source.build(again, "wheel", tmp_path / "twin")
    digests = {hashlib.sha256(each.read_bytes()).hexdigest() for each in (wheel, twin)}
    assert len(digests) == 1


def test_installed_it_tells_its_version_and_the_commit(program: Path, tagged: Path) -> None:
    revision = source.commit(tagged)
    assert told(program, "--version") == f"swf-bridge {VERSION} (revision {revision})\n"


def test_installed_it_checks_settings_and_prints_the_example(program: Path) -> None:
    assert "task list demo/demo" in told(program, "check", **SETTINGS)
    example = (source.ROOT / "config/bridge.env.example").read_text()
    assert told(program, "config", "--example") == example


def test_installed_outside_of_home_it_writes_units_that_run_it(wheel: Path, tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin") or sys.executable
    source.run(python, "-m", "venv", "--without-pip", "venv", cwd=tmp_path)
    uv = (Path(sys.executable).parent / "uv", "pip", "install", "--offline", "--no-deps")
    source.run(*uv, "--python", tmp_path / "venv", wheel, cwd=tmp_path)
    told(tmp_path / "venv/bin/swf-bridge", "units", str(tmp_path))
    for name in ("swf-bridge.service", "swf-bridge-peer@.service", "swf-bridge@.service"):
        text = (tmp_path / name).read_text()
        assert f"\nExecStart={tmp_path}/venv/bin/swf-bridge run\n" in text


@pytest.fixture
def swf() -> Iterator[LocalSwf]:
    with LocalSwf(hold=1.0) as swf:
        yield swf


def test_installed_it_runs_and_carries_a_task(
    program: Path, tmp_path: Path, swf: LocalSwf, vhost: Vhost
) -> None:
    worker = Worker(vhost.url)
    worker.queue()
    given = SETTINGS | {
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_ENDPOINT_URL_SWF": swf.endpoint,
        "SWF_BRIDGE_AMQP_URL": vhost.url,
    }
    with subprocess.Popen([program, "run"], env=given, cwd=tmp_path) as daemon:
        try:
            task = swf.submit("greet", input="hello")
            worker.complete(worker.take(seconds=30), "hello yourself")
            assert swf.wait_closed(task, 10)
        finally:
            daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    worker.close()


def test_installed_it_is_an_swf_of_its_own(program: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    run = [program, "local", "run", "--listen", address]
    with subprocess.Popen(run, cwd=tmp_path, stdout=subprocess.DEVNULL) as local:
        ask = [program, "local", "submit", "greet", "--json", "--endpoint", f"http://{address}"]
        answered = []

        def submits() -> bool:
            done = subprocess.run(ask, capture_output=True, text=True, check=False)
            answered.append(done.stdout)
            return done.returncode == 0

        try:
            assert until(submits, 20)
            assert json.loads(answered[-1])["id"]
        finally:
            local.send_signal(signal.SIGTERM)
        assert local.wait(10) == 0


def test_installed_it_tries_a_worker(program: Path, vhost: Vhost) -> None:
    worker = ("--worker", str(source.ROOT / "examples/shell/worker.sh"), "--queue", "work")
    # amqp-consume shows no headers, so no deadline; amqp-publish waits for no confirm.
    skips = ("--skip", "deadline", "--skip", "confirmed")
    only = ("--fail", "none", "--slow", "none", *skips, "--json")
    lines = told(
        program, "conformance", *worker, *only, "--broker", vhost.url, PATH=os.environ["PATH"]
    ).splitlines()
    assert len(lines) > 3

"""`tools/debian`: what runs in the root of another Debian ends with the script."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes import until

ROOT = Path(__file__).parents[2]
PROGRAMS = ("sh", "sleep", "setsid", "nsenter", "umount", "rmdir")
MOUNT_POINTS = ("proc", "sys", "dev", "run", "tmp", "bin", "etc")


def carry(file: str, root: Path) -> None:
    """A file with what its symbolic links lead to, at the same place in the root."""
    target = root / file.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def small_root(root: Path) -> None:
    """A shell and some programs with their libraries: as much of a Debian as the tests need."""
    for name in MOUNT_POINTS:
        (root / name).mkdir(parents=True)
    for name in PROGRAMS:
        program = shutil.which(name)
        assert program
        shutil.copy(program, root / "bin" / name)
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
        for library in re.findall(r"(/\S+) \(0x", linked.stdout):
            carry(library, root)


def clone(folder: Path) -> None:
    """A checkout that holds the script alone."""
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "debian", folder / "tools")
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "The script"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


@pytest.fixture
def debian(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """What starts `tools/debian trixie sh -c SCRIPT`, on a small root."""
    if os.geteuid() != 0:
        pytest.skip("tools/debian needs root, for mounts of its own")
    small_root(tmp_path / "cache" / "swf-bridge" / "trixie")
    clone(tmp_path / "clone")
    given = {"PATH": os.environ["PATH"], "HOME": os.fspath(tmp_path)}

    def debian(script: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [tmp_path / "clone" / "tools" / "debian", "trixie", "sh", "-c", script],
            env={**given, "XDG_CACHE_HOME": os.fspath(tmp_path / "cache")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    return debian


def sleepers(seconds: str) -> list[int]:
    """The processes that sleep for just so long."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "cmdline").read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_whatever_runs_in_the_root_ends_with_the_script(
    number: int, tmp_path: Path, debian: Callable[[str], subprocess.Popen[str]]
) -> None:
    seconds = f"{30000 + os.getpid() % 10000}.{number}"
    # One in a session of its own, which no signal to a terminal's group reaches.
    inside = f"setsid sleep {seconds} & sleep {seconds} & sleep {seconds}"
    script = debian(inside)
    try:
        assert until(lambda: len(sleepers(seconds)) == 3, 20)
        script.send_signal(number)
        ended = script.wait(10)
        assert ended == {signal.SIGINT: 130, signal.SIGKILL: -9}.get(number, 143)
        assert until(lambda: not sleepers(seconds), 5), "it runs on in the root"
        assert str(tmp_path) not in Path("/proc/mounts").read_text()
    finally:
        script.kill()
        for pid in sleepers(seconds):
            os.kill(pid, signal.SIGKILL)


def test_who_enters_its_mounts_stands_in_the_root_too(
    tmp_path: Path, debian: Callable[[str], subprocess.Popen[str]]
) -> None:
    (tmp_path / "cache/swf-bridge/trixie/etc/only-there").touch()
    enter = "nsenter --mount=/proc/self/ns/mnt sh -c 'cd /etc; echo only-*'"
    told, _ = debian(enter).communicate(timeout=30)
    assert told == "only-there\n"

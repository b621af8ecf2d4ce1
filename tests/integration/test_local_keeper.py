import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bridge.local.keeper import Keeper
from tests.processes import until

OWNER = """
import os, sys, time
from bridge.local.keeper import Keeper
keeper = Keeper("kept-")
child = keeper.spawn(["sh", "-c", "touch ready; trap '' TERM HUP INT; sleep 300 & wait; wait"])
while not (keeper.folder / "ready").exists():
    time.sleep(0.01)
print(keeper.folder, child.pid, flush=True)
if sys.argv[1] == "exits":
    os._exit(3)
time.sleep(300)
"""


def group_of(pid: int) -> list[int]:
    """The living members of the process group of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if group == str(pid) and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("end", ["exits", "is killed"])
def test_what_is_kept_ends_with_its_owner(end: str) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, end], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    folder, child = owner.stdout.readline().split()
    if end == "is killed":
        group = os.getpgid(int(child))
        assert until(lambda: len(group_of(group)) == 3), "leader, shell and sleep"
        os.kill(owner.pid, signal.SIGKILL)
    else:
        group = -1
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 10
    while Path(folder).exists() or group_of(group):
        assert time.monotonic() < deadline, "something was left"
        time.sleep(0.02)


def test_the_end_of_a_keeper_ends_its_processes_and_its_folder() -> None:
    with Keeper("kept-") as keeper:
        child = keeper.spawn(["sh", "-c", "echo hello; kill -STOP $$"], output="words")
        while not (keeper.folder / "words").read_text():
            time.sleep(0.01)
    assert child.returncode == -signal.SIGKILL
    assert not keeper.folder.exists()
    keeper.end()


def test_a_keeper_without_a_place_for_its_folder_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(OSError, match=r"/nowhere/kept-.* cannot be made"):
        Keeper("kept-")


def test_a_folder_that_is_there_already_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("secrets.token_hex", lambda _: "taken")
    (tmp_path / "kept-taken").mkdir()
    with pytest.raises(OSError, match="cannot be made"):
        Keeper("kept-")
    assert (tmp_path / "kept-taken").is_dir()

"""A process that tests fork from one with the modules is as one that begins by exec."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from bridge.local.keeper import Keeper
from tests import forked

SEEN = ["-m", "process_seen"]
FOLDER = Path(__file__).parent
OURS = {"SWF_BRIDGE_DOMAIN": "a\udcffb", "TZ": "Asia/Tokyo"}


@pytest.mark.parametrize("language", [{}, {"LANG": "C.UTF-8"}])
@pytest.mark.parametrize("what", ["say", "exit 7", "raise"])
def test_it_has_all_that_exec_would_have_given_it(
    what: str, language: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    env = OURS | language
    ended = [forked.run([*SEEN, what], env=env, cwd=FOLDER)]
    monkeypatch.setenv("TESTS_EXEC", "1")
    ended.append(forked.run([*SEEN, what], env=env, cwd=FOLDER))
    (one, other) = (json.loads(each.stdout) for each in ended)
    assert "bridge.daemon" in one.pop("ours")
    assert other.pop("ours") == []
    assert one == other
    assert one["environment"] == env | ({} if language else {"LC_CTYPE": "C.UTF-8"})
    assert one["folder"] == str(FOLDER)
    assert [each.returncode for each in ended] == 2 * [{"say": 0, "exit 7": 7, "raise": 1}[what]]
    last = [each.stderr.splitlines()[-1:] for each in ended]
    assert last == 2 * [["ValueError: as it was asked to"] if what == "raise" else []]


def test_its_streams_may_be_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for exec_ in ("", "1"):
        monkeypatch.setenv("TESTS_EXEC", exec_)
        reading, writing = os.pipe()
        process = forked.python([*SEEN, "say"], env=OURS, cwd=FOLDER, stdout=writing)
        os.close(writing)
        with open(reading) as stream:
            told.append({**json.load(stream), "ours": None})
        assert process.wait(10) == 0
    assert told[0] == told[1]


def test_its_end_is_told_as_that_of_a_child_and_nothing_of_it_stays() -> None:
    process = forked.python([*SEEN, "wait for a signal"], env=OURS, cwd=FOLDER)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists()


@pytest.mark.parametrize("begun", ["forked", "by exec"])
def test_it_ends_with_the_group_that_it_is_put_into(
    begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if begun == "by exec":
        monkeypatch.setenv("TESTS_EXEC", "1")
    wait = [*SEEN, "wait for a signal"]
    with Keeper("forked-") as keeper:
        process = forked.python(wait, env=OURS, cwd=FOLDER, group=keeper.group)
        assert os.getpgid(process.pid) == keeper.group
    assert process.wait(10) == -signal.SIGKILL


def test_it_does_not_outlive_a_group_that_ended_before() -> None:
    with Keeper("forked-") as keeper:
        group = keeper.group
    process = forked.python([*SEEN, "wait for a signal"], env=OURS, cwd=FOLDER, group=group)
    assert process.wait(10) == -signal.SIGKILL


def test_a_variable_that_python_reads_at_its_start_begins_it_by_exec() -> None:
    ended = forked.run([*SEEN, "say"], env={**OURS, "PYTHONOPTIMIZE": "1"}, cwd=FOLDER)
    assert "optimize=1" in json.loads(ended.stdout)["flags"]

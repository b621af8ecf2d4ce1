"""A journal that somebody else made beforehand, or has another name for, is not written to."""

import os

import pytest

from bridge.errors import ConfigError
from bridge.journal.journal import Journal
from tests.unit.bridge_parts import a_task

NOBODY = 65534
FILES = ["", "-wal", "-shm", ".lock"]

foreign = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "state" / "journal.db"
    found.parent.mkdir()
    return found


def refusal(path):
    with pytest.raises(ConfigError) as refused:
        Journal(path, lock_timeout=0)
    (sentence,) = refused.value.problems
    assert sentence.startswith("SWF_BRIDGE_JOURNAL: ")
    return sentence


@foreign
@pytest.mark.parametrize("suffix", FILES)
def test_a_file_of_another_user_is_refused(path, suffix):
    file = path.with_name(path.name + suffix)
    file.touch(0o666)
    os.chown(file, NOBODY, NOBODY)
    assert refusal(path).endswith(f"{file} belongs to another user ({NOBODY})")
    assert file.stat().st_size == 0
    assert file.stat().st_mode & 0o777 == 0o644


@foreign
def test_a_folder_of_another_user_is_refused(path):
    os.chown(path.parent, NOBODY, NOBODY)
    assert f"the directory {path.parent} belongs to another user" in refusal(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("link", ["symbolic", "dangling", "hard"])
def test_a_link_is_refused_and_what_it_leads_to_stays_as_it_was(path, suffix, link):
    theirs = path.parent / "theirs"
    if link != "dangling":
        theirs.write_bytes(b"theirs")
    file = path.with_name(path.name + suffix)
    if link == "hard":
        file.hardlink_to(theirs)
    else:
        file.symlink_to(theirs)
    kind = "hard link" if link == "hard" else "symbolic link"
    assert kind in refusal(path)
    assert theirs.exists() == (link != "dangling")
    assert link == "dangling" or theirs.read_bytes() == b"theirs"


def test_behind_a_link_of_a_folder_as_systemd_makes_one_the_journal_is_taken(path, tmp_path):
    (tmp_path / "link").symlink_to(path.parent)
    journal = Journal(tmp_path / "link" / path.name)
    journal.record(a_task("t"), b"{}")
    journal.close()
    Journal(path).close()

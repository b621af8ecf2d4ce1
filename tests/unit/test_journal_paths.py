"""What stands at a journal's paths: what comes or goes is seen, and little is looked at."""

import os
import time

import pytest

from bridge.journal.paths import KnownFiles, files_of, lock_name

LONG_AGO = time.time_ns() - 60_000_000_000


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "journal.db"
    path.parent.mkdir()
    for each in (*files_of(path), lock_name(path)):
        each.touch()
    unchanged(path)
    return path


def unchanged(path):
    """Have the folder look as if nothing had come or gone for a minute."""
    os.utime(path.parent, ns=(LONG_AGO, LONG_AGO))


def test_while_nothing_comes_or_goes_only_the_folder_is_examined(path):
    known = KnownFiles(path)
    assert known.gone() == ""
    path.unlink()
    unchanged(path)
    assert known.gone() == "", "the folder says that nothing went"
    assert known.gone(thorough=True) == f"{path} was removed"


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_goes_is_named_at_once(path, number, how):
    known = KnownFiles(path)
    assert known.gone() == ""
    file = [*files_of(path), lock_name(path)][number]
    if how == "replaced":
        other = file.with_name("other")
        other.touch()
        other.rename(file)
    else:
        file.unlink()
    for _ in range(3):
        assert known.gone() == f"{file} was {how}"


def test_what_goes_right_after_another_change_is_named_as_well(path):
    """Both may have the same time."""
    known = KnownFiles(path)
    (path.parent / "new").touch()
    changed = path.parent.stat().st_mtime_ns
    assert known.gone() == ""
    path.unlink()
    os.utime(path.parent, ns=(changed, changed))
    assert known.gone() == f"{path} was removed"


@pytest.mark.parametrize("how", ["moved", "replaced"])
def test_a_folder_that_goes_is_noticed(path, how):
    known = KnownFiles(path)
    assert known.gone() == ""
    path.parent.rename(path.parent.with_name("away"))
    if how == "replaced":
        path.parent.mkdir()
        for each in (*files_of(path), lock_name(path)):
            each.touch()
        unchanged(path)
    gone = "replaced" if how == "replaced" else "removed"
    assert known.gone() == f"{path} was {gone}"


def test_a_clock_that_is_set_back_costs_looks_and_hides_nothing(path):
    ahead = time.time_ns() + 3_600_000_000_000
    os.utime(path.parent, ns=(ahead, ahead))
    known = KnownFiles(path)
    assert known.gone() == ""
    path.unlink()
    os.utime(path.parent, ns=(ahead, ahead))
    assert known.gone() == f"{path} was removed"

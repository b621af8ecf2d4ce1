"""A clean-up job, or a hand, that takes the journal away from under the daemon."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Start
from tests.processes import until
from tests.worker import Worker


def remove(folder: Path) -> None:
    for file in folder.glob("journal.db*"):
        file.unlink()


def remove_the_log(folder: Path) -> None:
    (folder / "journal.db-wal").unlink()


def move(folder: Path) -> None:
    (folder / "journal.db").rename(folder / "elsewhere.db")


def replace(folder: Path) -> None:
    with sqlite3.connect(folder / "other.db") as db:
        db.execute("CREATE TABLE other (x)")
    db.close()
    (folder / "other.db").rename(folder / "journal.db")


def remove_the_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def move_the_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


@pytest.mark.parametrize(
    "take_away",
    [remove, remove_the_log, move, replace, remove_the_folder, move_the_folder],
    ids=lambda each: each.__name__,
)
def test_it_is_told_and_written_anew_and_a_kill_loses_nothing(
    swf: LocalSwf, worker: Worker, start: Start, tmp_path: Path, take_away: Callable[[Path], None]
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    control = tmp_path / "control.sock"
    bridge = start(journal=folder / "journal.db", control=control, pollers=1)
    before = swf.submit_many([{"name": "echo", "version": "1.0", "count": 3}])
    bridge.wait("task.polled", count=3)  # no queue is bound: they stand in the journal alone
    take_away(folder)
    after = swf.submit_many([{"name": "echo", "version": "1.0", "count": 2}])
    told = bridge.wait("journal.lost", 10, level="critical")
    assert "removed" in told["error"] or "replaced" in told["error"]
    bridge.wait("journal.back", 10)
    bridge.wait("task.polled", count=5)
    bridge.kill()
    assert not list(folder.glob("*.new*"))
    assert (folder / "journal.db").stat().st_mode & 0o777 == 0o600
    worker.queue()
    bridge.start()
    for taken in worker.take_many(5):
        worker.complete(taken)
    for each in [*before, *after]:
        assert swf.wait_closed(each, 10), bridge.log
    assert bridge.stop() == 0
    with sqlite3.connect(folder / "journal.db") as db:
        assert db.execute("SELECT count(*) FROM task").fetchone() == (0,)
    db.close()


def test_while_it_cannot_be_written_anew_nothing_is_polled_and_replies_go_on(
    swf: LocalSwf, worker: Worker, start: Start, tmp_path: Path
) -> None:
    worker.queue()
    folder = tmp_path / "state"
    folder.mkdir()
    bridge = start(journal=folder / "journal.db", control=tmp_path / "control.sock")
    first = swf.submit()
    taken = worker.take()
    shutil.rmtree(folder)
    folder.write_text("a file is in the way")
    bridge.wait("journal.lost", 10)
    assert until(lambda: swf.counts()["polls"] == 0)
    worker.complete(taken)
    assert swf.wait_closed(first, 10)
    second = swf.submit()
    bridge.wait("journal.not_made_anew", count=2)
    assert worker.take_now() is None
    folder.unlink()
    bridge.wait("journal.back", 10)
    worker.complete(worker.take())
    assert swf.wait_closed(second, 10)
    assert bridge.stop() == 0

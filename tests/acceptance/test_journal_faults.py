"""Contract §5, at run time: what may be wrong with the journal."""

import fcntl
import resource
import sqlite3
from pathlib import Path

from bridge.local import LocalSwf
from tests.acceptance.harness import Site, Start
from tests.worker import Worker


def test_a_corrupt_journal_is_renamed_aside_loudly_and_the_start_goes_on(
    swf: LocalSwf, worker: Worker, start: Start, tmp_path: Path
) -> None:
    worker.queue()
    garbage = b"no database " * 1000
    (tmp_path / "journal.db").write_bytes(garbage)
    bridge = start()
    corrupt = bridge.wait("journal.corrupt", level="critical")
    assert Path(corrupt["aside"]).read_bytes() == garbage
    task_id = swf.submit()
    worker.complete(worker.take())
    assert swf.wait_closed(task_id, 10)


def test_a_journal_of_a_newer_version_ends_the_start_with_78(site: Site) -> None:
    assert site.bridge.stop() == 0
    with sqlite3.connect(site.bridge.settings["SWF_BRIDGE_JOURNAL"]) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    site.bridge.start(await_start=False)
    assert site.bridge.leave(10) == 78
    last = site.bridge.log.splitlines()[-1]
    assert "SWF_BRIDGE_JOURNAL" in last
    assert "newer" in last
    assert "Traceback" not in site.bridge.log


def test_a_journal_that_another_holds_is_waited_for(
    swf: LocalSwf, start: Start, tmp_path: Path
) -> None:
    with (tmp_path / "journal.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        bridge = start(await_start=False)
        bridge.wait("journal.held", level="warning")
    bridge.wait("daemon.started")
    assert bridge.stop() == 0


def test_a_journal_that_cannot_be_written_stops_polls_alone(site: Site) -> None:
    swf, bridge, worker = site.swf, site.bridge, site.worker
    held_id, held = site.hand_out()
    bridge.file_size_limit(0)
    first = swf.submit()
    bridge.wait("journal.lost", level="critical")
    worker.complete(worker.take())  # it could not be recorded, and was handed on all the same
    worker.complete(held)
    assert swf.wait_closed([held_id, first], 10)
    assert worker.until(lambda: swf.counts()["polls"] == 0)
    waiting = swf.submit()
    fails = swf.counts()["calls"]["PollForActivityTask"]
    bridge.file_size_limit(resource.RLIM_INFINITY)
    assert swf.counts()["calls"]["PollForActivityTask"] == fails
    bridge.wait("journal.back")
    worker.complete(worker.take())
    assert swf.wait_closed(waiting, 10)
    assert bridge.stop() == 0
    with sqlite3.connect(bridge.settings["SWF_BRIDGE_JOURNAL"]) as db:
        assert db.execute("SELECT count(*) FROM task").fetchone() == (0,)
    db.close()

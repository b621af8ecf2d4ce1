"""Contract §6: one signal drains, a second leaves at once, and no part dies alone."""

import signal
import sqlite3
from pathlib import Path

import pytest

from tests.acceptance.harness import Site

pytestmark = pytest.mark.usefixtures("by_exec")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_open_polls_end_and_what_they_bring_is_published(
    site: Site, number: signal.Signals
) -> None:
    site.swf.options(hold=2.0)
    task_id, task = site.hand_out()
    site.worker.complete(task)
    site.closed(task_id)
    assert site.worker.until(lambda: site.swf.counts()["polls"] == 2)
    site.bridge.signal(number)
    site.bridge.wait("daemon.draining")
    task_id = site.swf.submit()
    task = site.worker.take()
    assert site.bridge.leave() == 0
    site.bridge.events("daemon.stopped")
    known = site.swf.task(task_id)
    assert known["messageId"] == task.properties.message_id
    assert known["unheard"] is None
    assert "cut" not in site.swf.counts()["calls"]["PollForActivityTask"]


def test_replies_that_came_before_the_signal_are_answered(site: Site) -> None:
    tasks = [site.hand_out() for _ in range(30)]
    site.swf.options(latency=0.05)
    for _, task in tasks:
        site.worker.complete(task)
    site.bridge.wait("reply.settled")
    assert site.bridge.stop() == 0
    settled = [task_id for task_id, _ in tasks if not site.swf.wait_closed(task_id, 0)]
    assert site.worker.ready("swf.replies") == len(settled)


def test_a_second_signal_leaves_at_once(site: Site) -> None:
    site.swf.options(hold=30.0)
    task_id, task = site.hand_out()
    site.worker.complete(task)
    site.closed(task_id)
    assert site.worker.until(lambda: site.swf.counts()["polls"] == 2)
    site.bridge.signal()
    site.bridge.wait("daemon.draining")
    site.bridge.signal()
    assert site.bridge.leave(2) == 0


def test_what_is_left_is_published_at_the_next_start(site: Site) -> None:
    site.worker.channel.queue_unbind("work", "swf.activities", "#")
    task_id = site.swf.submit()
    site.bridge.wait("task.unroutable")
    assert site.bridge.stop() == 0
    site.worker.queue("work")
    site.bridge.start()
    site.worker.complete(site.worker.take())
    assert site.closed(task_id)["state"] == "completed"


def test_a_part_that_dies_drains_the_others_and_ends_the_process_with_70(site: Site) -> None:
    damage(Path(site.bridge.settings["SWF_BRIDGE_JOURNAL"]))
    task_id, task = site.hand_out()  # which no journal could hold, so it was published at once
    site.bridge.wait("part.ended", level="critical")
    site.bridge.wait("daemon.draining")
    assert site.bridge.leave() == 70
    site.bridge.start()
    site.bridge.wait("journal.corrupt", level="critical")
    site.worker.complete(task)
    assert site.closed(task_id)["state"] == "completed"


def damage(journal: Path) -> None:
    """Make the journal's tables point nowhere, under the daemon that has it open."""
    with sqlite3.connect(journal) as db:
        db.execute("PRAGMA busy_timeout = 5000")
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET rootpage = 9999 WHERE type IN ('table', 'index')")
        (version,) = db.execute("PRAGMA schema_version").fetchone()
        db.execute(f"PRAGMA schema_version = {version + 1}")
    db.close()

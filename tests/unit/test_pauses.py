"""Pauses: who may set and end them, and what of them stands in the journal."""

import logging
import sqlite3
import time

import pytest

from bridge.control.pauses import PauseCommands
from bridge.control.request import Request
from bridge.errors import Declined
from bridge.journal.journal import Journal
from bridge.journal.pauses import Pauses
from bridge.journal.schema import VERSION
from bridge.journal.slots import Slots
from bridge.task import REASON_LIMIT
from tests.unit.bridge_parts import until
from tests.unit.failing_disk import Disk

A, B, OTHER_A = ("demo", "a"), ("demo", "b"), ("mail", "a")


class Site:
    """A daemon's pauses and their commands, over restarts."""

    def __init__(self, path):
        self.path = path
        self.halted = False
        self.slots = Slots({A: 5, B: 5, OTHER_A: 5})
        self.open()

    def open(self):
        self.journal = Journal(self.path, lock_timeout=0)
        self.pauses = Pauses(self.journal)
        self.commands = PauseCommands(
            self.pauses, self.slots, self.journal, halted=lambda: self.halted
        )

    def restart(self):
        self.journal.close()
        self.open()

    def ask(self, command, uid=1000, **fields):
        (answer,) = getattr(self.commands, command)(Request(fields, uid))
        told = answer["result"]
        return [(each["domain"], each["taskList"]) for each in told["lists"]], told

    @property
    def paused(self):
        return {each.task_list_id for each in self.pauses.all()}


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path / "journal.db")
    yield site
    site.journal.close()


def test_a_pause_says_of_each_list_what_is_still_open(site):
    assert site.slots.acquire(B, 0)
    assert site.slots.acquire(B, 0)
    lists, told = site.ask("pause", lists=["b", "demo/a"], reason="moving", seconds=90)
    assert lists == [B, A]
    b, a = told["lists"]
    assert (b["openPolls"], a["openPolls"]) == (2, 0)
    assert (b["uid"], b["reason"]) == (1000, "moving")
    assert 89 < b["left"] <= 90
    assert b["until"] - b["since"] == 90
    assert told["unchanged"] == []
    assert told["kept"] is True


def test_a_pause_holds_over_a_restart_and_ends_by_a_resume_for_good(site):
    site.ask("pause", lists=["b"], uid=7, reason="why")
    site.restart()
    pause = site.pauses.of(B)
    assert (pause.uid, pause.reason, pause.until) == (7, "why", None)
    assert site.ask("resume", lists=["b"])[0] == [B]
    site.restart()
    assert site.paused == set()


def test_a_pause_is_told_in_the_log_with_who_and_why_and_again_at_a_start(site, caplog):
    caplog.set_level(logging.INFO)
    site.ask("pause", lists=["b"], uid=7, reason="why", seconds=60)
    site.restart()
    site.ask("resume", lists=["b"], uid=8)
    told = [(each.getMessage(), each.uid, each.task_list) for each in caplog.records]
    assert told == [
        ("list.paused", 7, "b"),
        ("list.found_paused", 7, "b"),
        ("list.resumed", 8, "b"),
    ]
    assert caplog.records[0].reason == "why"
    assert caplog.records[0].seconds == pytest.approx(60, abs=1)


def test_a_pause_ends_by_itself_and_nobody_is_named_for_it(site, caplog):
    caplog.set_level(logging.INFO)
    site.ask("pause", lists=["b"], seconds=0.1)
    site.ask("pause", lists=["mail/a"], seconds=60)
    site.ask("pause", lists=["demo/a"])
    pause = site.pauses.of(B)
    until(lambda: time.monotonic() >= pause.due)
    assert site.paused == {A, B, OTHER_A}
    site.pauses.end_due()
    assert site.paused == {A, OTHER_A}
    assert pause.over.is_set()
    assert caplog.records[-1].getMessage() == "list.resumed"
    assert not hasattr(caplog.records[-1], "uid")
    site.restart()
    assert site.paused == {A, OTHER_A}


def test_what_is_left_of_a_span_is_left_after_a_restart_and_what_is_over_ends(site, monkeypatch):
    site.ask("pause", lists=["b"], seconds=60)
    site.ask("pause", lists=["demo/a"], seconds=10)
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 30)
    site.restart()
    left = site.pauses.of(B).due - time.monotonic()
    assert 25 < left < 31
    site.pauses.end_due()
    assert site.paused == {B}


def test_a_clock_that_is_set_neither_ends_a_pause_nor_prolongs_it(site, monkeypatch):
    site.ask("pause", lists=["demo/a"], seconds=3600)
    site.ask("pause", lists=["b"], seconds=0.1)
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 86_400)
    site.pauses.end_due()
    assert A in site.paused
    monkeypatch.setattr(time, "time", lambda now=time.time: now() - 200_000)
    assert site.pauses.of(A).seconds == 0
    due = site.pauses.of(B).due
    until(lambda: time.monotonic() >= due)
    site.pauses.end_due()
    assert site.paused == {A}


def test_what_is_paused_stays_as_it_is_and_is_told(site):
    site.ask("pause", lists=["b"], reason="first")
    lists, told = site.ask("pause", all=True, reason="second")
    assert lists == [A, OTHER_A]
    assert told["unchanged"] == ["demo/b"]
    assert site.pauses.of(B).reason == "first"


def test_all_are_resumed_that_are_paused_and_no_others_named(site):
    site.ask("pause", lists=["b", "mail/a"])
    lists, told = site.ask("resume", all=True)
    assert (lists, told["unchanged"]) == ([B, OTHER_A], [])
    with pytest.raises(Declined, match="no task list is paused"):
        site.ask("resume", all=True)


def test_what_is_not_paused_is_told_where_it_is_named(site):
    site.ask("pause", lists=["b"])
    lists, told = site.ask("resume", lists=["b", "demo/a"])
    assert (lists, told["unchanged"]) == ([B], ["demo/a"])


def test_a_list_that_is_among_the_settings_no_more_can_be_resumed(site):
    site.ask("pause", lists=["b"])
    site.slots = Slots({A: 5})
    site.restart()
    with pytest.raises(Declined, match="no task list b"):
        site.ask("pause", lists=["b"])
    assert site.ask("resume", lists=["b"])[0] == [B]


@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({}, "usage", "name task lists, or say all"),
        ({"lists": ["nope"]}, "not-found", "no task list nope is polled here"),
        ({"lists": ["x" * 5000]}, "not-found", "…"),
        ({"lists": ["b", "nope"]}, "not-found", "nope"),
        ({"lists": ["a"]}, "usage", "several: say demo/a or mail/a"),
        ({"lists": "b"}, "usage", "wrong type"),
        ({"lists": ["b"], "seconds": 0}, "usage", "seconds must be"),
        ({"lists": ["b"], "seconds": 1e300}, "usage", "seconds must be"),
        ({"lists": ["b"], "seconds": "5x"}, "usage", "seconds is of the wrong type"),
        ({"lists": ["b"], "reason": 5}, "usage", "reason is of the wrong type"),
    ],
)
def test_a_request_that_cannot_be_carried_out_changes_nothing(site, fields, code, told):
    with pytest.raises(Declined, match=told) as declined:
        site.ask("pause", **fields)
    assert declined.value.code == code
    assert len(str(declined.value)) < 200
    assert site.paused == set()


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_daemon_that_stops_takes_neither(site, command):
    site.halted = True
    with pytest.raises(Declined, match="stopping"):
        site.ask(command, all=True)


@pytest.mark.parametrize("reason", ["é" * 5000, "\ud800 \0 \x1b[2J \n", "𝄞" * 400])
def test_any_reason_is_kept_over_a_restart_within_its_bound(site, reason):
    site.ask("pause", lists=["b"], reason=reason)
    site.restart()
    kept = site.pauses.of(B).reason
    assert len(kept.encode("utf-16-le")) <= 2 * REASON_LIMIT
    assert kept[:1] == (reason[:1] if reason[:1] != "\ud800" else "\\")


def test_what_the_disk_does_not_take_is_told_and_written_later(site):
    disk = Disk()
    disk.fail()
    try:
        kept = site.ask("pause", lists=["b"])[1]["kept"]
    finally:
        disk.mend()
    assert kept is False
    assert site.paused == {B}
    site.journal.flush()
    site.restart()
    assert site.paused == {B}


def test_a_journal_of_a_version_without_pauses_opens_and_the_other_way_round(site):
    site.journal.close()
    with sqlite3.connect(site.path) as db:
        db.execute("DROP TABLE pause")
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,) == (1,)
    db.close()
    site.open()
    site.ask("pause", lists=["b"])
    site.restart()
    assert site.paused == {B}
    with sqlite3.connect(site.path) as db:  # what an earlier version looks at before it takes it
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    db.close()

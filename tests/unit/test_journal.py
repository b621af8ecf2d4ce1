"""The tasks in hand, on disk: what survives, what is kept while the disk takes nothing."""

import contextlib
import logging
import os
import sqlite3
import threading
import time
from dataclasses import replace

import pytest

from bridge.errors import ConfigError, PartFailed
from bridge.journal.entry import InHand
from bridge.journal.journal import Journal
from bridge.journal.schema import SETTLED_KEPT
from bridge.journal.slots import Slots
from bridge.message.message import encode_task
from bridge.task import Deadline, task_id
from tests.unit.bridge_parts import TASK_LIST_ID, a_task, until
from tests.unit.failing_disk import Disk

CLOSED = []


class NotedSlots(Slots):
    """Slots that note which tasks are to give theirs back, in order."""

    def __init__(self):
        super().__init__({TASK_LIST_ID: 10})
        self.released = []

    def release(self, task_id):
        self.released.append(task_id)
        return super().release(task_id)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    slots = NotedSlots()
    found = Journal(path, slots=slots)
    found.slots = slots.released
    yield found
    if found not in CLOSED:
        found.close()


def record(journal, *tokens, **fields):
    tasks = [a_task(token, **fields) for token in tokens]
    for task in tasks:
        journal.record(task, encode_task(task))
    return tasks


def reopened(journal):
    journal.close()
    CLOSED.append(journal)
    return Journal(journal.path)


def in_hand(journal):
    return [entry.task.token for entry in journal.tasks()]


def owed(journal):
    return [entry.task.token for entry in journal.owed()]


# --- the life of a task ------------------------------------------------------------------------


def test_a_task_that_was_recorded_is_there_after_a_restart_as_it_was(journal):
    task = a_task(input="\ud800\0" + "x" * 32_000, polled_at=1700000000.25)
    journal.record(task, encode_task(task))
    again = reopened(journal)
    (entry,) = again.tasks()
    assert entry.task == task
    assert entry.body == encode_task(task)
    assert (entry.published, entry.first_word, entry.cancel_noticed) == (False, False, False)
    assert again.get(task.id) == entry
    again.close()


def test_what_was_confirmed_is_owed_no_more_after_a_restart(journal):
    one, two = record(journal, "one", "two")
    journal.published(one.id)
    again = reopened(journal)
    assert owed(again) == ["two"]
    assert in_hand(again) == ["one", "two"]
    assert again.get(one.id).published
    assert not again.get(two.id).published
    again.close()


def test_only_what_an_earlier_life_left_is_owed_to_the_publisher(journal):
    record(journal, "before")
    again = reopened(journal)
    record(again, "now")
    assert owed(again) == ["before"]
    again.close()


def test_a_settled_task_is_in_hand_no_more_and_known_as_settled(journal):
    (task,) = record(journal, "one", polled_at=7.5)
    assert journal.settle(task.id) == InHand(*TASK_LIST_ID, 7.5)
    assert journal.get(task.id) is None
    assert in_hand(journal) == []
    assert journal.was_settled(task.id)
    assert journal.slots == [task.id]
    again = reopened(journal)
    assert in_hand(again) == []
    assert again.was_settled(task.id)
    again.close()


def test_a_task_settled_twice_is_in_hand_once_and_one_unknown_never(journal):
    (task,) = record(journal, "one")
    assert journal.settle(task.id)
    assert journal.settle(task.id) is None
    assert journal.settle(task_id("unknown")) is None


def test_a_task_that_closed_without_the_bridge_is_not_remembered_as_settled(journal):
    (task,) = record(journal, "one")
    assert journal.settle(task.id, remember=False)
    assert not journal.was_settled(task.id)


def test_a_confirm_that_comes_after_the_reply_changes_nothing(journal):
    (task,) = record(journal, "one")
    journal.settle(task.id)
    journal.published(task.id)
    assert journal.flush()
    assert in_hand(journal) == []


def test_the_same_task_recorded_twice_is_in_hand_once(journal):
    record(journal, "one", "one")
    assert in_hand(journal) == ["one"]


def test_a_cancel_is_noticed_once_also_over_a_restart(journal):
    (task,) = record(journal, "one")
    assert journal.cancel_noticed(task.id)
    assert not journal.cancel_noticed(task.id)
    assert not journal.cancel_noticed(task_id("unknown"))
    journal.first_word(task.id)
    again = reopened(journal)
    assert not again.cancel_noticed(task.id)
    assert again.get(task.id).first_word
    again.close()


def test_an_instance_keeps_its_id_over_restarts(journal):
    again = reopened(journal)
    assert again.instance == journal.instance
    assert len(again.instance) == 12
    again.close()


# --- questions ---------------------------------------------------------------------------------


def test_tasks_come_the_oldest_first_over_more_than_a_page(journal):
    tokens = [f"t{number}" for number in range(1_050)]
    record(journal, *tokens)
    assert in_hand(journal) == tokens
    assert [each for each, _, _ in journal.in_hand()] == [task_id(token) for token in tokens]


def test_tasks_that_were_handed_over_are_found_by_age_place_and_list(journal):
    tasks = record(journal, "a", "b", polled_at=10.0)
    tasks += record(journal, "other", polled_at=11.0, task_list="other")
    tasks += record(journal, "young", polled_at=99.0)
    record(journal, "unconfirmed", polled_at=9.0)
    for task in tasks:
        journal.published(task.id)
    journal.flush()

    def found(**given):
        given = {"before": 50.0, "limit": 10, **given}
        return [entry.task.token for _, entry in journal.handed_over(**given)]

    assert found() == ["a", "b", "other"]
    assert found(limit=1) == ["a"]
    assert found(task_list_id=TASK_LIST_ID) == ["a", "b"]
    assert found(task_list_id=("demo", "other")) == ["other"]
    assert found(before=10.0) == []
    ((place, _),) = journal.handed_over(before=50.0, limit=1)
    assert found(after=place) == ["b", "other"]


def test_it_tells_how_the_tasks_of_each_list_stand(journal):
    one, _ = record(journal, "one", "two", polled_at=5.0)
    record(journal, "three", task_list="other", polled_at=4.0)
    journal.published(one.id)
    for _ in range(2):
        assert journal.standing() == {
            TASK_LIST_ID: (2, 1, 5.0, None),
            ("demo", "other"): (1, 1, 4.0, None),
        }
        journal.flush()


def test_ids_of_settled_tasks_are_remembered_but_not_for_ever(path):
    Journal(path).close()
    db = sqlite3.connect(path)
    with db:
        old = ((task_id(str(number)),) for number in range(SETTLED_KEPT))
        db.executemany("INSERT INTO settled (id) VALUES (?)", old)
    db.close()
    journal = Journal(path)
    for number in range(1_000):
        journal.settle(task_id(f"new {number}"))
    assert not journal.was_settled(task_id("999"))
    assert journal.was_settled(task_id("1000"))
    assert journal.was_settled(task_id("new 999"))
    journal.close()


def test_its_size_counts_the_write_ahead_log(journal, path):
    before = journal.size()
    record(journal, "one", input="x" * 30_000)
    assert journal.size() >= before + 30_000
    assert journal.size() > path.stat().st_size


# --- many threads, and death -------------------------------------------------------------------


def test_all_who_wait_are_written_in_one_commit(path):
    commits = []
    journal = Journal(path, observe=commits.append)
    threads = [threading.Thread(target=record, args=(journal, f"t{n}")) for n in range(20)]
    with journal.commits.lock:
        for thread in threads:
            thread.start()
        until(lambda: len(journal.commits.waiting) == 20)
    for thread in threads:
        thread.join(10)
    assert len(commits) == 1
    assert len(in_hand(journal)) == 20
    journal.close()


def test_many_threads_lose_no_change(journal):
    def live(name):
        for number in range(40):
            (task,) = record(journal, f"{name}-{number}")
            journal.published(task.id)
            if number % 2:
                assert journal.settle(task.id)
            journal.flush()

    threads = [threading.Thread(target=live, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    again = reopened(journal)
    assert sorted(in_hand(again)) == sorted(f"{n}-{i}" for n in range(8) for i in range(0, 40, 2))
    assert owed(again) == []
    again.close()


# --- opening -----------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_alone(journal, path):
    record(journal, "one")
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_file_that_others_could_read_is_closed_to_them(path):
    path.touch(0o644)
    Journal(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_journal_held_by_another_is_waited_for_and_then_given_up(journal, path):
    started = time.monotonic()
    with pytest.raises(PartFailed, match="another process holds the journal"):
        Journal(path, lock_timeout=0.2)
    assert 0.2 <= time.monotonic() - started < 5


def test_a_journal_that_is_given_up_in_time_is_taken(path):
    closing = threading.Timer(0.1, Journal(path).close)
    closing.start()
    Journal(path, lock_timeout=5).close()
    closing.join()


def test_a_journal_of_a_newer_version_is_a_wrong_setting_and_stays_as_it_is(path):
    Journal(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.close()
    before = path.read_bytes()
    for _ in range(2):  # the lock is given back
        with pytest.raises(ConfigError, match=r"SWF_BRIDGE_JOURNAL: .* newer swf-bridge"):
            Journal(path, lock_timeout=0)
    assert path.read_bytes() == before


@pytest.mark.parametrize("pragma", ["user_version = 7", "application_id = 7", "user_version = 0"])
def test_a_database_of_another_program_is_a_wrong_setting_and_stays_as_it_is(path, pragma):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (id)")
    db.execute(f"PRAGMA {pragma}")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"SWF_BRIDGE_JOURNAL: .* another program"):
        Journal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["missing/journal.db", "file/journal.db", "."])
def test_a_path_that_cannot_work_is_told_by_the_name_of_its_variable(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises((ConfigError, PartFailed), match="SWF_BRIDGE_JOURNAL: cannot open"):
        Journal(tmp_path / name)


def corrupt(path, how):
    content = path.read_bytes()
    if how == "noise":
        path.write_bytes(b"no database at all" * 1000)
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "overwritten":
        path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


@pytest.mark.parametrize("how", ["noise", "cut", "overwritten"])
def test_a_corrupt_journal_is_renamed_aside_and_a_new_one_begun(path, how, caplog):
    journal = Journal(path)
    record(journal, *(f"t{number}" for number in range(100)), input="x" * 500)
    journal.close()
    corrupt(path, how)
    damaged = path.read_bytes()
    with caplog.at_level(logging.CRITICAL):
        again = Journal(path)
    assert in_hand(again) == []
    record(again, "new")
    again.close()
    (aside,) = path.parent.glob("journal.db.corrupt-*")
    assert aside.read_bytes() == damaged
    assert [each.message for each in caplog.records] == ["journal.corrupt"]


FORMAT_NUMBER = 47
"""Where SQLite's header has it (https://www.sqlite.org/fileformat.html, 1.3)."""


@pytest.mark.parametrize("at", [16, 18, 20, 21, 24, 28, 36, 40, FORMAT_NUMBER, 52, 56, 92])
@pytest.mark.parametrize("byte", [b"\x01", b"\xff"])
def test_a_wrong_byte_of_the_header_keeps_no_daemon_from_starting(path, at, byte):
    with contextlib.closing(Journal(path)) as journal:
        record(journal, "token")
    content = path.read_bytes()
    path.write_bytes(content[:at] + byte + content[at + 1 :])
    with contextlib.closing(Journal(path)) as journal:
        record(journal, "new")
        assert in_hand(journal)[-1] == "new"
    if (at, byte) == (FORMAT_NUMBER, b"\xff"):
        assert list(path.parent.glob("*.corrupt-*"))


def test_an_index_that_does_not_fit_its_table_is_a_corrupt_journal(path):
    """It would end the daemon when it writes."""
    with contextlib.closing(Journal(path)) as journal:
        record(journal, "token")
    with contextlib.closing(sqlite3.connect(path)) as db:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_task_1'"
        ((page,),) = db.execute(query)
        ((size,),) = db.execute("PRAGMA page_size")
        ((task_id,),) = db.execute("SELECT id FROM task")
    content = path.read_bytes()
    at = content.index(task_id.encode(), (page - 1) * size, page * size)
    path.write_bytes(content[:at] + b"?" + content[at + 1 :])
    with contextlib.closing(Journal(path)) as journal:
        assert in_hand(journal) == []
    assert list(path.parent.glob("*.corrupt-*"))


def test_a_disk_that_fails_at_the_start_is_no_corrupt_journal(path):
    with contextlib.closing(Journal(path)) as journal:
        record(journal, "token")
    disk = Disk()
    disk.fail()
    try:
        with pytest.raises(PartFailed, match="cannot open the journal"):
            Journal(path)
    finally:
        disk.mend()
    with contextlib.closing(Journal(path)) as journal:
        assert in_hand(journal) == ["token"]
    assert not list(path.parent.glob("*.corrupt-*"))


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE task SET body = CAST('{}' AS BLOB)",
        "UPDATE task SET body = x'ff'",
        "UPDATE task SET body = CAST(replace(CAST(body AS TEXT), 'token', 'tokem') AS BLOB)",
        "UPDATE task SET body = CAST(replace(CAST(body AS TEXT), 'startedEventId', 'x') AS BLOB)",
        "UPDATE task SET id = CAST(x'ff' AS TEXT)",
        "UPDATE task SET domain = 'another'",
        "UPDATE task SET polled_at = 'soon'",
        "INSERT INTO settled (id) VALUES (CAST(x'ff' AS TEXT))",
        "DELETE FROM instance",
        "ALTER TABLE task RENAME COLUMN cancel_noticed TO cancel_noticer",
        "ALTER TABLE settled RENAME TO settler",
        "ALTER TABLE pause DROP COLUMN until",
        "DROP TRIGGER settle",
    ],
)
def test_what_is_damaged_where_sqlite_does_not_see_it_is_a_corrupt_journal(path, spoil):
    """It would end the daemon at every start."""
    with contextlib.closing(Journal(path)) as journal:
        journal.record(a_task("token"), encode_task(a_task("token")))
    db = sqlite3.connect(path)
    db.execute(spoil)
    db.commit()
    db.close()
    with contextlib.closing(Journal(path)) as journal:
        assert list(journal.tasks()) == []
    assert list(path.parent.glob("*.corrupt-*"))


def test_a_journal_emptied_beside_its_log_is_begun_anew(path):
    journal = Journal(path)
    record(journal, "one")
    log = path.with_name(path.name + "-wal").read_bytes()
    journal.close()
    path.write_bytes(b"")
    path.with_name(path.name + "-wal").write_bytes(log)
    again = Journal(path)
    record(again, "new")
    assert "new" in in_hand(again)
    again.close()


# --- a disk that takes nothing -----------------------------------------------------------------


@pytest.fixture
def disk(journal):
    """Breaks and mends the disk below the journal."""
    disk = Disk()
    yield disk
    disk.mend()


BIG = {"input": "x" * 30_000}
"""More than fits the free pages of a small database."""


def test_a_task_that_cannot_be_written_is_in_hand_all_the_same(journal, disk, caplog):
    disk.fail()
    (task,) = record(journal, "one", **BIG)
    assert not journal.writable.is_set()
    assert journal.get(task.id).task == task
    assert not journal.flush()
    assert [each.message for each in caplog.records] == ["journal.lost"]
    assert journal.commits.error == caplog.records[0].error
    disk.mend()
    assert journal.flush()
    assert journal.writable.is_set()
    assert [each.message for each in caplog.records] == ["journal.lost", "journal.back"]
    assert journal.get(task.id).task == task
    assert in_hand(journal) == ["one"]


def test_a_task_is_settled_without_the_disk(journal, disk):
    before, *_ = record(journal, "before", polled_at=5.0)
    disk.fail()
    (task,) = record(journal, "one", polled_at=6.0, **BIG)
    assert journal.settle(task.id) == InHand(*TASK_LIST_ID, 6.0)
    assert journal.settle(before.id) == InHand(*TASK_LIST_ID, 5.0)
    assert journal.slots == [task.id, before.id]
    assert journal.get(task.id) is None
    disk.mend()
    assert journal.flush()
    again = reopened(journal)
    assert in_hand(again) == []
    assert again.was_settled(task.id)
    again.close()


def test_a_task_settled_without_the_disk_is_in_hand_no_more(journal, disk):
    (task,) = record(journal, "one")
    disk.fail()
    record(journal, "two", **BIG)
    assert journal.settle(task.id)
    assert journal.settle(task.id) is None
    assert journal.get(task.id) is None
    assert journal.was_settled(task.id)


def test_a_task_that_closed_without_us_and_is_then_answered_is_settled_also_without_the_disk(
    journal, disk
):
    (task,) = record(journal, "one")
    disk.fail()
    record(journal, "two", **BIG)
    assert journal.settle(task.id, remember=False)
    assert not journal.was_settled(task.id)
    assert journal.settle(task.id) is None
    assert journal.was_settled(task.id)


def test_what_waits_for_the_disk_is_written_in_order(journal, disk):
    disk.fail()
    one, two = record(journal, "one", "two", **BIG)
    journal.published(one.id)
    journal.first_word(one.id)
    assert journal.cancel_noticed(one.id)
    journal.settle(two.id)
    record(journal, "three")
    for _ in range(3):
        assert not journal.flush()
    disk.mend()
    assert journal.flush()
    again = reopened(journal)
    assert in_hand(again) == ["one", "three"]
    entry = again.get(one.id)
    assert (entry.published, entry.first_word, entry.cancel_noticed) == (True, True, True)
    again.close()


def test_a_disk_that_fails_for_long_costs_no_memory_by_itself(journal, disk):
    disk.fail()
    record(journal, "one", **BIG)
    waiting = len(journal.commits.waiting)
    for _ in range(20):
        assert not journal.flush()
    assert len(journal.commits.waiting) == waiting


def test_while_the_disk_fails_nobody_but_flush_tries_it(journal, disk):
    disk.fail()
    record(journal, "one", **BIG)
    disk.mend()
    record(journal, "two")
    assert not journal.writable.is_set()
    assert list(journal.written()) == []
    assert journal.flush()
    assert [entry.task.token for entry in journal.written()] == ["one", "two"]


def test_a_task_that_is_not_written_yet_is_among_those_in_hand_and_as_it_stands(journal, disk):
    record(journal, "before")
    disk.fail()
    one, two, _ = record(journal, "one", "two", "three", **BIG)
    journal.published(one.id)
    journal.settle(two.id)
    assert not journal.flush()
    assert [(each.task.token, each.published) for each in journal.tasks()] == [
        ("before", False),
        ("one", True),
        ("three", False),
    ]
    assert journal.get(one.id).published
    disk.mend()
    assert journal.flush()
    assert in_hand(journal) == ["before", "one", "three"]


def test_what_rabbitmq_confirms_while_the_disk_fails_is_not_told_as_owed(journal, disk):
    before, *_ = record(journal, "before")
    disk.fail()
    one, *_ = record(journal, "one", **BIG)
    for task in (before, one):
        journal.published(task.id)
    for _ in range(2):
        assert not journal.flush()
    assert journal.get(before.id).published
    assert journal.standing()[TASK_LIST_ID].owed == 0
    disk.mend()
    assert journal.flush()
    again = reopened(journal)
    assert list(again.owed()) == []
    again.close()


def test_a_file_that_is_moved_away_and_back_is_written_again(journal, path):
    aside = path.with_name("aside")
    path.rename(aside)
    journal.look()
    assert not journal.writable.is_set()
    aside.rename(path)
    assert journal.flush()
    assert journal.writable.is_set()


def test_the_look_of_each_second_does_not_trust_the_folder(journal, path):
    long_ago = time.time_ns() - 60_000_000_000
    os.utime(path.parent, ns=(long_ago, long_ago))
    journal.look()
    path.unlink()
    os.utime(path.parent, ns=(long_ago, long_ago))
    assert journal.flush()
    assert path.exists()


def test_a_database_that_is_damaged_while_in_use_ends_the_part(journal, path):
    record(journal, "one")
    with contextlib.closing(sqlite3.connect(path)) as stranger:
        stranger.execute("DROP TABLE settled")
        refusing = "seq INTEGER PRIMARY KEY, id TEXT CHECK (FALSE)"
        stranger.execute(f"CREATE TABLE settled ({refusing})")
        with pytest.raises(PartFailed, match="is damaged"):
            journal.settle(task_id("one"))
        stranger.execute("DROP TABLE settled")
        stranger.execute("CREATE TABLE settled (seq INTEGER PRIMARY KEY, id TEXT UNIQUE)")


# --- together ----------------------------------------------------------------------------------


def test_what_a_thread_records_and_settles_together_is_one_commit(path):
    commits = []
    journal = Journal(path, observe=commits.append)
    with journal.together():
        first, *others = record(journal, "first", "second", "third")
        journal.settle(first.id)
        assert commits == []
        assert journal.get(others[0].id).task == others[0]
        assert journal.get(first.id) is None
    assert len(commits) == 1
    assert in_hand(journal) == ["second", "third"]
    journal.close()


def test_what_was_changed_before_an_error_is_committed_all_the_same(journal):
    def change_and_break():
        with journal.together():
            record(journal, "token")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_break()
    assert in_hand(journal) == ["token"]


def test_a_cancel_is_noticed_once_also_where_it_is_heard_of_twice_together(journal):
    (task,) = record(journal, "token")
    with journal.together():
        assert [journal.cancel_noticed(task.id) for _ in range(3)] == [True, False, False]


def test_what_others_change_is_not_kept_waiting_by_a_thread_that_changes_more(journal):
    with journal.together():
        record(journal, "first")
        thread = threading.Thread(target=record, args=(journal, "second"))
        thread.start()
        thread.join(10)
        assert in_hand(journal) == ["first", "second"]


# --- deadlines ---


def test_deadlines_and_the_time_at_swf_outlive_the_process(path):
    journal = Journal(path)
    for token in ("one", "two", "settled"):
        task = a_task(token, given_at=1_000.0)
        journal.record(task, encode_task(task))
        journal.expires(task.id, Deadline(1_020.0, 1_005.0))
    journal.first_word(task_id("two"))
    journal.settle(task_id("settled"))
    journal.override(("demo", "say", "1"))
    journal.close()
    again = Journal(path)
    assert again.get(task_id("one")).task.given_at == 1_000.0
    assert again.deadlines.get(task_id("one")) == Deadline(1_020.0, 1_005.0)
    assert again.deadlines.get(task_id("two")) == Deadline(1_020.0)
    assert again.deadlines.get(task_id("settled")) is None
    assert again.deadlines.before(1_006.0) == [task_id("one")]
    assert again.deadlines.before(2_000.0) == [task_id("one"), task_id("two")]
    assert again.standing()[TASK_LIST_ID].next_deadline == 1_005.0
    assert again.overridden == {("demo", "say", "1")}
    again.close()


def test_no_deadline_is_kept_of_a_task_that_was_settled_before(path):
    journal = Journal(path)
    journal.expires(task_id("gone"), Deadline(5.0))
    assert journal.deadlines.before(9.0) == []
    journal.close()


def test_what_rabbitmq_has_no_more_is_owed_again(path):
    journal = Journal(path)
    task = a_task()
    journal.record(task, encode_task(task))
    journal.published(task.id)
    journal.flush()
    journal.owe(task.id)
    journal.close()
    again = Journal(path)
    assert [each.task.id for each in again.owed()] == [task.id]
    again.close()


def test_a_journal_of_an_earlier_version_opens_and_its_own_version_reads_it_again(path):
    old = sqlite3.connect(path)
    old.executescript(FIRST_SCHEMA)
    task = a_task()
    record = "INSERT INTO task (id, domain, task_list, polled_at, body) VALUES (?, ?, ?, ?, ?)"
    old.execute(record, (task.id, *TASK_LIST_ID, 5.0, encode_task(task)))
    old.commit()
    old.close()
    for _ in range(2):
        journal = Journal(path)
        assert journal.get(task.id).task == replace(task, polled_at=5.0)
        assert journal.deadlines.get(task.id) is None
        journal.close()
    old = sqlite3.connect(path)
    assert old.execute("PRAGMA user_version").fetchone() == (1,)
    old.execute(record, ("another", *TASK_LIST_ID, 6.0, b"{}"))
    old.close()


FIRST_SCHEMA = """
BEGIN;
CREATE TABLE instance (id TEXT NOT NULL);
CREATE TABLE task (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, domain TEXT NOT NULL, task_list TEXT NOT NULL,
    polled_at REAL NOT NULL, body BLOB NOT NULL, published INTEGER NOT NULL DEFAULT 0,
    first_word INTEGER NOT NULL DEFAULT 0, cancel_noticed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE settled (seq INTEGER PRIMARY KEY, id TEXT NOT NULL);
CREATE TRIGGER settle AFTER INSERT ON settled BEGIN DELETE FROM task WHERE id = NEW.id; END;
INSERT INTO instance VALUES ('0123456789ab');
PRAGMA application_id = 0x53574642;
PRAGMA user_version = 1;
COMMIT;
"""
"""As the first version made it."""

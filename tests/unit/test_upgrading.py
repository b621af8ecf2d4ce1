"""A journal with tasks in it, from the first version to this one and back (docs/upgrading.md).

What the first version wrote and asked stands here as it was, and is not to be changed.
"""

import sqlite3

import pytest

from bridge.journal.journal import Journal
from bridge.journal.schema import VERSION
from bridge.message.message import encode_task
from bridge.task import task_id
from tests.unit.bridge_parts import a_task

FIRST = """
PRAGMA application_id = 1398228546;
PRAGMA user_version = 1;
CREATE TABLE instance (id TEXT NOT NULL);
CREATE TABLE task (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    domain TEXT NOT NULL,
    task_list TEXT NOT NULL,
    polled_at REAL NOT NULL,
    body BLOB NOT NULL,
    published INTEGER NOT NULL DEFAULT 0,
    first_word INTEGER NOT NULL DEFAULT 0,
    cancel_noticed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE settled (seq INTEGER PRIMARY KEY, id TEXT NOT NULL);
CREATE TRIGGER settle AFTER INSERT ON settled BEGIN DELETE FROM task WHERE id = NEW.id; END;
INSERT INTO instance (id) VALUES ('0123456789ab');
"""
RECORD = "INSERT INTO task (id, domain, task_list, polled_at, body) VALUES (?, ?, ?, ?, ?)"
PUBLISHED = "UPDATE task SET published = 1 WHERE id = ?"
SETTLE = "INSERT INTO settled (id) VALUES (?)"
IN_HAND = "SELECT id, domain, task_list, polled_at, body, published FROM task ORDER BY seq"
BODY = (
    '{"taskToken":"%s","activityId":"activity-1","startedEventId":6,"workflowExecution":'
    '{"workflowId":"workflow-1","runId":"run-1"},"activityType":{"name":"Greeter.say",'
    '"version":"1.0"},"domain":"demo","taskList":"list","input":"hello"}'
)


def row(token):
    return (task_id(token), "demo", "list", 1_700_000_000.25, (BODY % token).encode())


@pytest.fixture
def path(tmp_path):
    """A journal of the first version: one task published, one not, one settled."""
    path = tmp_path / "journal.db"
    db = sqlite3.connect(path)
    db.executescript(FIRST)
    db.executemany(RECORD, [row("published"), row("owed"), row("settled")])
    db.execute(PUBLISHED, (task_id("published"),))
    db.execute(SETTLE, (task_id("settled"),))
    db.commit()
    db.close()
    return path


def test_an_upgrade_takes_the_tasks_over_as_they_are(path):
    journal = Journal(path)
    assert journal.instance == "0123456789ab"
    tasks = {entry.task.token: entry.task for entry in journal.tasks()}
    assert list(tasks) == ["published", "owed"]
    assert [entry.task.token for entry in journal.owed()] == ["owed"]
    assert (tasks["owed"].input, tasks["owed"].name, tasks["owed"].version) == (
        "hello", "Greeter.say", "1.0",
    )  # fmt: skip
    assert journal.was_settled(task_id("settled"))
    journal.close()


def test_the_way_back_keeps_the_tasks_of_both_and_the_way_forth_again_too(path):
    journal = Journal(path)
    newer = a_task("newer", input="hello")
    journal.record(newer, encode_task(newer))
    journal.settle(task_id("published"))
    journal.close()

    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (1,), "the first version ends with 78"
    rows = {each[0]: each for each in db.execute(IN_HAND)}
    assert list(rows) == [task_id("owed"), task_id("newer")]
    assert bytes(rows[task_id("newer")][4]) == (BODY % "newer").encode()
    db.execute(RECORD, row("older"))
    db.execute(PUBLISHED, (task_id("newer"),))
    db.execute(SETTLE, (task_id("owed"),))
    db.commit()
    db.close()

    journal = Journal(path)
    assert [entry.task.token for entry in journal.tasks()] == ["newer", "older"]
    assert [entry.task.token for entry in journal.owed()] == ["older"]
    assert journal.was_settled(task_id("owed"))
    journal.close()


def test_a_newer_form_has_a_number_of_its_own_and_a_rule_in_the_docs():
    assert VERSION == 1, "then tell docs/upgrading.md how to go back, and test it here"

"""The commands at the tasks in hand: a real journal, an SWF and a publisher the test speaks for."""

import time

import pytest

from bridge.control.request import Request
from bridge.control.tasks import WINDOW, TaskCommands
from bridge.errors import BadReply, Declined, Refused, TaskClosed, Unavailable
from bridge.journal.journal import Journal
from bridge.message.message import encode_task
from bridge.rabbitmq.publisher import Fate
from bridge.telemetry.metrics import TASKS_FAILED_BACK
from bridge.telemetry.registry import Metrics
from tests.unit.bridge_parts import TASK_LIST_ID, a_task


class Site:
    """What the commands are given: `errors` is what SWF raises by token, `fates` by task."""

    def __init__(self, journal, **times):
        self.journal = journal
        self.metrics = Metrics()
        self.errors = {}
        self.fates = {}
        self.failed = []
        self.republished = []
        self.let_go = []
        self.ready = True
        self.halted = False
        self.commands = TaskCommands(
            journal, self, self, self.metrics, self.republish,
            broker_ready=lambda: self.ready, routing_key=lambda task: task.name,
            halted=lambda: self.halted, **times,
        )  # fmt: skip

    def hold(self, *tokens, published=True, **fields):
        tasks = [a_task(token, **fields) for token in tokens]
        for task in tasks:
            self.journal.record(task, encode_task(task))
            if published:
                self.journal.published(task.id)
        return [task.id for task in tasks]

    def respond(self, reply):
        if error := self.errors.get(reply.token):
            raise error
        self.failed.append((reply.token, reply.reason))

    def settled(self, task_id):
        return self.journal.settle(task_id)

    def released(self, task_id, reason):
        self.let_go.append(reason)
        return self.journal.settle(task_id, remember=False)

    def republish(self, task, body, told):
        assert body == encode_task(task)
        self.republished.append(task.id)
        fate = self.fates.get(task.id, Fate.CONFIRMED)
        if fate is not None:
            told(fate, "" if fate is Fate.CONFIRMED else f"why {fate.value}")


@pytest.fixture
def site(request, tmp_path):
    """A site; a test may give its commands other times, as the fixture's parameter."""
    journal = Journal(tmp_path / "journal.db")
    yield Site(journal, **getattr(request, "param", {}))
    journal.close()


def carry_out(command, **fields):
    """Rows and result."""
    answers = [each for each in command(Request(fields)) if "progress" not in each]
    return [each["row"] for each in answers[:-1]], answers[-1]["result"]


def test_a_task_is_failed_and_let_go(site):
    (task_id,) = site.hold("t1")
    rows, told = carry_out(site.commands.fail, ids=[task_id[:5]], reason="r" * 300)
    assert rows == [{"id": task_id, "outcome": "failed", "detail": ""}]
    assert (told["matched"], told["failed"], told["left"]) == (1, 1, 0)
    ((token, reason),) = site.failed
    assert (token, len(reason), reason[-1]) == ("t1", 256, "…")
    assert site.journal.get(task_id) is None
    assert site.journal.was_settled(task_id)
    assert site.metrics.value(TASKS_FAILED_BACK, *TASK_LIST_ID) == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(TaskClosed("gone"), "closed"), (BadReply("token-invalid", "no token"), "refused")],
)
def test_a_task_that_swf_does_not_let_fail_is_let_go_and_told(site, error, outcome):
    (task_id,) = site.hold("t1")
    site.errors["t1"] = error
    (row,), told = carry_out(site.commands.fail, all=True)
    assert row["outcome"] == outcome
    assert told[outcome] == 1
    assert site.journal.get(task_id) is None
    assert len(site.let_go) == 1


@pytest.mark.parametrize("site", [{"retry_for": 0.0}], indirect=True)
@pytest.mark.parametrize("error", [Refused("AccessDenied", "no"), Unavailable("Throttling")])
def test_an_swf_that_cannot_be_asked_ends_the_command_and_keeps_the_tasks(site, error):
    first, second, third = site.hold("t1", "t2", "t3")
    site.errors["t2"] = error
    rows, told = carry_out(site.commands.fail, all=True)
    assert [row["outcome"] for row in rows] == ["failed", "unavailable"]
    assert (told["failed"], told["unavailable"], told["left"]) == (1, 1, 1)
    assert site.journal.get(first) is None
    assert site.journal.get(second)
    assert site.journal.get(third)


def test_a_throttled_failing_is_tried_again(site):
    site.hold("t1")
    errors = [Unavailable("Throttling"), Unavailable("Throttling")]
    taken = site.respond
    site.respond = lambda reply: taken(reply) if not errors else (_ for _ in ()).throw(errors.pop())
    _, told = carry_out(site.commands.fail, all=True)
    assert told["failed"] == 1


def test_published_tasks_are_published_again_and_counted_by_fate(site):
    ids = site.hold("t1", "t2", "t3", "t4")
    waiting = site.hold("t5", published=False)
    for task_id, fate in zip(ids[1:], (Fate.UNROUTABLE, Fate.REFUSED, Fate.NACKED), strict=True):
        site.fates[task_id] = fate
    _, told = carry_out(site.commands.republish, all=True)
    assert site.republished == ids
    assert waiting[0] not in site.republished
    assert told == {
        "matched": 5, "confirmed": 1, "unroutable": 1, "refused": 1, "nacked": 1, "expired": 0,
        "waiting": 1, "answered": 0,
        "reasons": {"why unroutable": 1, "why refused": 1, "why nacked": 1},
    }  # fmt: skip


def test_a_confirm_counts_before_it_is_written_while_it_is_and_after(site):
    ids = site.hold("t1")
    for _ in range(2):
        assert carry_out(site.commands.list_tasks)[0][0]["state"] == "published"
        assert site.journal.get(ids[0]).published
        site.journal.flush()


@pytest.mark.parametrize("site", [{"receipt_timeout": 0.0, "tick": 0.01}], indirect=True)
def test_at_most_a_window_of_publishes_is_on_its_way(site):
    ids = site.hold(*(f"t{n}" for n in range(WINDOW + 10)))
    site.fates = dict.fromkeys(ids)
    with pytest.raises(Unavailable, match="confirmed 0, then nothing; 64 are on their way"):
        carry_out(site.commands.republish, all=True)
    assert site.republished == ids[:WINDOW]


@pytest.mark.parametrize("site", [{"tick": 0.0}], indirect=True)
def test_long_work_speaks_of_its_progress(site):
    site.hold("t1", "t2")
    answers = list(site.commands.fail(Request({"all": True})))
    assert {"progress": {"done": 1, "total": 2}} in answers


@pytest.mark.parametrize("command", ["fail", "republish"])
def test_a_stopping_daemon_changes_nothing_more(site, command):
    site.hold("t1")
    site.halted = True
    with pytest.raises(Declined) as stopping:
        carry_out(getattr(site.commands, command), all=True)
    assert stopping.value.code == "stopping"
    assert not site.failed
    assert not site.republished


def test_without_rabbitmq_nothing_is_published_again(site):
    site.hold("t1")
    site.ready = False
    with pytest.raises(Unavailable, match="RabbitMQ"):
        carry_out(site.commands.republish, all=True)
    assert not site.republished


@pytest.mark.parametrize("command", ["fail", "republish"])
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "usage"),
        ({"limit": 3}, "usage"),
        ({"ids": []}, "usage"),
        ({"ids": [""]}, "not-found"),
        ({"ids": ["zz"]}, "not-found"),
        ({"all": True, "state": "lost"}, "usage"),
    ],
)
def test_what_names_no_task_changes_none(site, command, fields, code):
    site.hold("t1")
    with pytest.raises(Declined) as declined:
        carry_out(getattr(site.commands, command), **fields)
    assert declined.value.code == code
    assert not site.failed
    assert not site.republished


def test_a_beginning_of_several_ids_names_none(site):
    ids = site.hold(*(f"t{n}" for n in range(17)))  # so two of them begin with the same digit
    first = next(each[0] for each in ids if [i[0] for i in ids].count(each[0]) > 1)
    with pytest.raises(Declined, match="give more of it"):
        carry_out(site.commands.show_task, id=first)


def test_an_id_and_filters_together_must_both_match(site):
    (task_id,) = site.hold("t1")
    _, told = carry_out(site.commands.fail, ids=[task_id], type="Other")
    assert told["matched"] == 0


def test_what_came_after_a_dry_run_is_not_failed_with_what_it_counted(site):
    now = time.time()
    counted = [*site.hold("old", polled_at=now - 100), *site.hold("young", polled_at=now - 1)]
    rows, told = carry_out(site.commands.fail, all=True, dry_run=True)
    assert [row["id"] for row in rows] == counted
    site.hold("later", polled_at=now)
    _, failed = carry_out(site.commands.fail, all=True, newest=told["newest"])
    assert (failed["matched"], failed["failed"]) == (2, 2)
    site.hold("older than the newest", polled_at=now - 50)
    _, aged = carry_out(site.commands.fail, older_than=60, newest=told["newest"])
    assert aged["matched"] == 0


def test_filters_take_the_age_from_the_poll(site):
    site.hold("old", polled_at=time.time() - 100)
    site.hold("new")
    rows, told = carry_out(site.commands.list_tasks, older_than=50)
    assert told == {"matched": 1, "shown": 1}
    assert rows[0]["age"] >= 100

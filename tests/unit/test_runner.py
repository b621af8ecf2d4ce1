"""Conversations read as if each call blocked, and a runner carries many of them on."""

import threading
from contextlib import contextmanager

import pytest

from bridge.errors import PartFailed
from bridge.swf.runner import Call, InPlace, Runner, complete


class Paper:
    """A wire on which calls are written down until the test answers them."""

    def __init__(self):
        self.open = []
        self.over = []
        self.waits = []

    def begin(self, call, whom):
        self.open.append((call.operation, whom))

    def ended(self, timeout):
        self.waits.append(timeout)
        over, self.over = self.over, []
        return over

    def wake(self):
        pass

    def answer(self, operation, answer):
        (found,) = [each for each in self.open if each[0] == operation]
        self.open.remove(found)
        self.over.append((found[1], answer))


async def ask(*operations):
    return [await Call(each, {}) for each in operations]


@pytest.fixture
def paper():
    return Paper()


@pytest.fixture
def line(paper):
    results = []
    found = Runner(paper, results.append)
    found.results = results
    return found


def test_a_conversation_goes_on_with_each_answer_and_ends_with_its_result(paper, line):
    line.begin(ask("one", "two"))
    line.turn(7.0)
    paper.answer("one", {"n": 1})
    line.turn(7.0)
    assert line.open == 1
    paper.answer("two", {"n": 2})
    line.turn(7.0)
    assert line.results == [[{"n": 1}, {"n": 2}]]
    assert line.open == 0
    assert paper.waits == [7.0, 7.0, 7.0]


def test_conversations_do_not_wait_for_each_other(paper, line):
    line.begin(ask("slow"))
    line.begin(ask("quick"))
    line.turn(0.0)
    paper.answer("quick", {})
    line.turn(0.0)
    assert line.results == [[{}]]
    assert line.open == 1


def test_an_error_is_raised_where_the_call_is_awaited(paper, line):
    async def bear():
        try:
            await Call("one", {})
        except KeyError as error:
            return error.args

    line.begin(bear())
    line.turn(0.0)
    paper.answer("one", KeyError("x"))
    line.turn(0.0)
    assert line.results == [("x",)]


def test_a_conversation_without_a_call_ends_at_once_and_nothing_is_waited_for(paper, line):
    line.begin(ask())
    line.turn(7.0)
    assert line.results == [[]]
    assert paper.waits == []


def test_what_one_conversation_raises_keeps_no_other_from_going_on(paper, line):
    for name in ("bad", "good"):
        line.begin(ask(name))
    line.turn(0.0)
    paper.answer("bad", ZeroDivisionError())
    paper.answer("good", {})
    with pytest.raises(ZeroDivisionError):
        line.turn(0.0)
    assert line.results == [[{}]]
    assert line.open == 0


def test_results_are_told_after_all_that_goes_together(paper):
    told = []

    @contextmanager
    def together():
        told.append("begin")
        yield
        told.append("commit")

    line = Runner(paper, told.append, together)
    for name in ("one", "two"):
        line.begin(ask(name))
    line.turn(0.0)
    told.clear()
    paper.answer("one", 1)
    paper.answer("two", 2)
    line.turn(0.0)
    assert told == ["begin", "commit", [1], [2]]


def test_results_are_told_also_where_the_commit_fails(paper):
    told = []

    @contextmanager
    def together():
        yield
        raise PartFailed("full")

    line = Runner(paper, told.append, together)
    line.begin(ask())
    with pytest.raises(PartFailed):
        line.turn(0.0)
    assert told == [[]]


def test_in_place_a_call_is_made_by_the_thread_that_waits_for_it():
    seen = []

    def make(call):
        seen.append((call.operation, threading.current_thread()))
        return {}

    line = Runner(InPlace(make), seen.append)
    line.begin(ask("one"))
    line.turn(0.0)
    assert seen == [("one", threading.current_thread()), [{}]]


def test_a_conversation_can_be_completed_here_and_now():
    def make(call):
        if call.operation == "bad":
            raise KeyError
        return call.operation

    assert complete(ask("one", "two"), make) == ["one", "two"]
    with pytest.raises(KeyError):
        complete(ask("one", "bad"), make)

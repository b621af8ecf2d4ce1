import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from bridge.rabbitmq.demand import DemandState
from bridge.status import page
from tests.snapshots import NOW, check, dead_letters, no_demand, paused, row, snapshot

VOID = {"meta", "link", "br"}


class Document(HTMLParser):
    """A page as its elements and text; every element must be closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self._open = [], "", []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in {"script", "style"}:
            self.text += data

    def all(self, tag):
        return [attrs for each, attrs in self.elements if each == tag]


def shown(**more):
    return Document(page.render(snapshot(**more)))


def test_a_daemon_that_does_well_says_so_first():
    document = shown()
    assert "All is well" in document.text
    assert "What is wrong" not in document.text
    assert "dev/images" in document.text
    assert "3 of 100" in document.text
    assert "worker-7" in document.text


def test_the_page_does_not_tell_which_notice_queue_is_the_daemons():
    """Who reads it and may write to that queue could make the daemon forget a task."""
    identifier = snapshot()["instance"]
    assert identifier not in page.render(snapshot())


def test_a_paused_list_says_by_whom_and_why_and_is_nothing_wrong():
    told = "paused by uid 0: <b>\x1b[2J"
    document = shown(lists=[row(paused=paused(text=told), notPolled=told)])
    assert "dev/images is paused" in document.text
    assert "no: paused by uid 0: <b>\ufffd[2J" in document.text
    assert "What wants a look" in document.text


def test_what_is_wrong_is_told_with_what_it_means_and_what_to_do():
    document = shown(checks=check("broker publisher") | check("polls dev/images", "failing"))
    assert "RabbitMQ is away, and 1 more thing is wrong" in document.text
    assert "publisher: connection refused" in document.text
    assert "none is lost" in document.text
    assert "SWF keeps these tasks" in document.text
    assert "Do: See that RabbitMQ runs" in document.text
    assert "docs/alerts.md, SwfBridgeBrokerAway" in document.text


def test_what_wants_a_look_is_told_apart_from_what_is_wrong():
    document = shown(replies={"held": 3, "outcomes": {}})
    assert "It works; 1 thing wants a look" in document.text
    (state,) = [attrs for _, attrs in document.elements if attrs.get("id") == "state"]
    assert state["class"] == "warn"


def test_a_drain_is_told_first_with_its_countdown_and_beside_what_is_wrong():
    drains = check("daemon", "draining", "draining: 2 open polls left; 9 s more at most")
    text = shown(state="stopping", checks=drains).text
    assert "! The daemon drains and will stop" in text
    assert "2 open polls left; 9 s more at most" in text
    text = shown(state="stopping", checks=drains | check("journal", "not writable")).text
    assert "The journal cannot be written; the daemon drains and will stop" in text


def test_a_command_in_what_to_do_stands_out():
    text = page.render(snapshot(checks=check("broker publisher", detail="`x`")))
    assert "<code>swf-bridge check --connect</code>" in text
    assert "<code>x</code>" not in text


@pytest.mark.parametrize(
    ("polled", "told"),
    [
        (1234, "1234 in all, 12.3 a second on average"),
        (50, "50 in all, 30.0 a minute on average"),
        (1, "1 in all, 36.0 an hour on average"),
        (0, "none yet"),
    ],
)
def test_a_rate_is_told_in_a_unit_that_shows_it(polled, told):
    status = snapshot(now=NOW, startedAt=NOW - 100, lists=[row(polled=polled)])
    assert told in Document(page.render(status)).text


def test_a_list_that_is_not_polled_says_why_in_words_not_only_by_a_sign():
    document = shown(lists=[row(**no_demand(DemandState.NO_CONSUMER), lastPoll=None)])
    assert "no: queue work has no consumer" in document.text
    assert "never" in document.text


def test_a_full_window_is_told():
    assert "100 of 100 – full" in shown(lists=[row(inFlight=100)]).text


def test_unroutable_keys_dead_letters_and_errors_are_told():
    error = {"at": NOW - 9, "level": "warning", "event": "task.unroutable", "fields": {"key": "k"}}
    document = shown(
        unroutable=[
            {
                "key": "greet.1.0",
                "seconds": 75.0,
                "reason": "no queue is bound",
                "tasks": 2,
                "failsIn": 44.9,
            }
        ],
        deadLetters=dead_letters(4, not_json=2),
        lastErrors=[error],
    )
    for told in (
        "greet.1.0",
        "for 1 min 15 s",
        "4 dead letters stand",
        "2 not-json",
        "task.unroutable",
    ):
        assert told in document.text


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onmouseover='alert(1)",
        "&lt;",
        "x" * 256,
        "\u202egpj.exe",
        "a\x00b\x1b[31m",
        "\ud800",
    ],
)
def test_a_hostile_name_stays_text_and_breaks_nothing(name):
    hostile = {"ok": False, "detail": name}
    error = {"at": NOW, "level": "error", "event": name, "fields": {name: name}}
    text = page.render(
        snapshot(
            checks={name: hostile},
            lists=[row(domain=name, taskList=name, notPolled=name, pollerStates={name: 1})],
            unroutable=[{"key": name, "seconds": 1.0, "reason": name, "tasks": 1, "failsIn": None}],
            deadLetters=dead_letters(1) | {"queue": name, "codes": {name: 1}},
            replies={"held": 0, "outcomes": {name: 1}},
            lastErrors=[error],
        )
    )
    document = Document(text)
    assert len(document.all("script")) == 1
    assert not document.all("img")
    assert not any(key.startswith("on") for _, attrs in document.elements for key in attrs)
    assert not re.search("[\x00-\x09\x0b-\x1f\ud800-\udfff]", text)
    readable = "".join("\ufffd" if ord(c) < 32 or c == "\ud800" else c for c in name)
    assert readable in document.text
    text.encode()


def test_a_right_to_left_name_cannot_turn_its_surroundings():
    text = page.render(snapshot(lists=[row(taskList="\u202egpj")]))
    assert "<bdi>dev/\u202egpj</bdi>" in text


def test_a_screen_reader_finds_landmarks_headings_and_tables_with_heads():
    document = shown()
    for landmark in ("header", "main", "nav", "footer"):
        assert len(document.all(landmark)) == 1
    assert document.all("html") == [{"lang": "en"}]
    assert len(document.all("h1")) == 1
    assert len(document.all("caption")) == len(document.all("table")) > 0
    assert all("scope" in attrs for attrs in document.all("th"))
    headings = {attrs["id"] for attrs in document.all("h2")}
    named = {attrs.get("aria-labelledby") for attrs in document.all("section")} - {None}
    assert named == headings
    (live,) = [attrs for _, attrs in document.elements if attrs.get("role") == "status"]
    assert live["id"] == "state"


def test_the_policy_allows_this_style_and_script_and_nothing_else():
    text = page.render(snapshot())
    for tag in ("style", "script"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in page.POLICY
    assert page.POLICY.startswith("default-src 'none'")
    assert not re.search(r'(src|href)="(?!/(livez|readyz|metrics)")', text)
    assert " style=" not in text


@pytest.mark.parametrize(("left", "told"), [(42.4, "42 s"), (-3.0, "none"), (None, "–")])
def test_each_list_says_how_long_swf_waits_for_the_next_of_its_tasks(left, told):
    text = page.render(snapshot(lists=[row(timeLeft=left)]))
    cell = text.split('data-head="Time left">')[1].split("</td>")[0]
    assert told in cell

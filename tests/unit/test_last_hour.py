"""The last hour of a list: counted minute by minute, and shown as plots and as blocks."""

import re

import pytest

from bridge.cli.running.blocks import blocks, blocks_of_hours
from bridge.journal.entry import Standing
from bridge.status import plots
from bridge.status.last_hour import MINUTES, LastHour
from bridge.telemetry import metrics as m
from bridge.telemetry.registry import Metrics
from tests.snapshots import snapshot

LIST = ("demo", "main")


class Clock:
    now = 6000.0

    def __call__(self):
        return self.now


class Bench:
    """Counters and a journal, and the hour that is made of them."""

    def __init__(self):
        self.clock, self.metrics, self.stands = Clock(), Metrics(), {}
        self.hour = LastHour(self.metrics, self, [LIST], self.clock)

    def standing(self):
        return self.stands

    def told(self):
        self.hour.look()
        return self.hour.told(LIST)

    def next_minute(self):
        self.hour.look()
        self.clock.now += 60


@pytest.fixture
def bench():
    return Bench()


def test_what_is_counted_stands_in_its_minute(bench):
    bench.metrics.count(m.TASKS_POLLED, *LIST, by=3)
    assert bench.told()["polled"] == [3]
    bench.metrics.count(m.TASKS_POLLED, *LIST, by=2)
    bench.next_minute()
    bench.metrics.count(m.TASKS_POLLED, *LIST)
    assert bench.told()["polled"] == [5, 1]


def test_a_task_is_settled_by_a_reply_by_the_bridge_or_without_either(bench):
    bench.metrics.observe(m.TASK_DURATION, 1.0, *LIST, "completed")
    bench.metrics.observe(m.TASK_DURATION, 1.0, *LIST, "failed")
    bench.metrics.count(m.TASKS_FAILED_BACK, *LIST)
    bench.metrics.count(m.SLOTS_RELEASED, *LIST, "timed out")
    assert bench.told()["settled"] == [4]


def test_the_oldest_is_the_longest_wait_of_the_minute(bench):
    bench.stands = {LIST: Standing(1, 0, bench.clock.now - 30)}
    bench.hour.look()
    bench.stands = {}
    assert bench.told()["oldest"] == [30.0]
    bench.next_minute()
    assert bench.told()["oldest"] == [30.0, 0.0]


def test_an_hour_is_kept_and_no_more(bench):
    for _ in range(MINUTES + 5):
        bench.metrics.count(m.TASKS_POLLED, *LIST)
        bench.next_minute()
    assert bench.told()["polled"] == [1] * (MINUTES - 1) + [0]


def test_a_list_that_is_not_polled_any_more_has_no_hour_and_harms_none(bench):
    bench.metrics.count(m.TASKS_POLLED, "demo", "gone")
    assert bench.told()["polled"] == [0]
    assert bench.hour.told(("demo", "gone")) is None


def test_a_plot_keeps_within_its_frame_and_ends_at_its_right_edge():
    hour = {"polled": [0, 5, 5, 1], "settled": [0, 0, 9, 9], "oldest": [0.0, 61.5, 61.5, 2.0]}
    for svg in (plots.flow(hour), plots.waiting(hour)):
        for path in re.findall(r' d="([^"]+)"', svg):
            across = [float(each) for each in re.findall(r"[MH](\S+?)(?=[ VHZ]|$)", path)]
            down = [float(each) for each in re.findall(r"V(\S+?)(?=[VHZ]|$)", path)]
            assert (min(across), max(across)) == (plots.MINUTES - 4, plots.MINUTES)
            assert all(0 <= each <= plots.HEIGHT for each in down)


def test_a_plot_says_in_words_what_it_shows():
    row = {"domain": "demo", "taskList": "<main>", "lastHour": {
        "polled": [1, 4], "settled": [2, 0], "oldest": [30.0, 5.0]}}  # fmt: skip
    told = plots.hours([row])
    assert "demo/&lt;main&gt;" in told
    assert "5 polled, at most 4 a minute; 2 settled, at most 2" in told
    assert "oldest in hand: 5 s now, 30 s at most" in told
    assert " style=" not in told


@pytest.mark.parametrize("hour", [
    {"polled": [], "settled": [], "oldest": []},
    {"polled": [0], "settled": [0], "oldest": [0.0]},
    {"polled": [10**9], "settled": [0], "oldest": [86400.0]},
])  # fmt: skip
def test_any_hour_can_be_shown(hour):
    told = plots.hours([{"domain": "d", "taskList": "l", "lastHour": hour}])
    assert told.count("<svg") == told.count("</svg>") == 2


def test_a_list_that_is_left_over_has_no_plot():
    assert "<svg" not in plots.hours([{"domain": "d", "taskList": "l", "lastHour": None}])


def test_blocks_tell_nothing_a_little_and_the_most_apart():
    assert blocks([0, 1, 50, 100], 4) == "·▁▅█"


def test_blocks_end_at_the_right_and_begin_with_blanks_where_there_was_no_daemon():
    assert blocks([3, 3], 4) == "  ██"
    assert blocks([1, 2, 3, 3], 2) == "██"
    assert blocks([], 3) == "   "
    assert blocks([0, 0], 2) == "··"


@pytest.mark.parametrize(("width", "minutes"), [(80, 60), (200, 60), (50, 32), (20, 10)])
def test_in_a_terminal_there_are_as_many_minutes_as_there_is_room_for(width, minutes):
    head, name, *lines = list(blocks_of_hours(snapshot(), width))[1:]
    assert head.startswith(f"the last {minutes} minutes")
    assert name == "  dev/images"
    assert [line.split()[:2] for line in lines] == [
        ["polled", "9"], ["settled", "8"], ["oldest", "4m"]
    ]  # fmt: skip
    assert all(len(line) == 18 + minutes for line in lines)

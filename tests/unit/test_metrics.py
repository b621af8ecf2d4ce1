from threading import Thread

import pytest

from bridge.telemetry import metrics
from bridge.telemetry.metrics import ALL, Distribution, Metric
from bridge.telemetry.registry import Metrics

UNITS = ("_seconds", "_bytes")
ABBREVIATIONS = ("_ms", "_sec", "_secs", "_millis", "_milliseconds", "_kb", "_mb", "_minutes")


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
class TestConventions:
    def test_the_name_has_the_prefix_and_plain_letters(self, metric):
        assert metric.name.startswith("swf_bridge_")
        assert metric.name.replace("_", "").isalpha()
        assert metric.name.islower()

    def test_counters_alone_end_in_total(self, metric):
        assert metric.name.endswith("_total") == (metric.kind == "counter")

    def test_times_and_sizes_are_in_base_units_at_the_end(self, metric):
        stem = metric.name.removesuffix("_total")
        assert not stem.endswith(ABBREVIATIONS)
        if any(word in stem for word in ("duration", "age", "timestamp", "size")):
            assert stem.endswith(UNITS)

    def test_no_name_ends_like_a_part_of_a_histogram(self, metric):
        assert not metric.name.endswith(("_count", "_sum", "_bucket", "_info_total"))

    def test_the_help_is_a_sentence(self, metric):
        assert metric.help[0].isupper() or metric.help[0].isdigit()
        assert metric.help.endswith(".")
        assert "\n" not in metric.help

    def test_labels_are_plain_and_none_is_reserved(self, metric):
        assert len(set(metric.labels)) == len(metric.labels)
        assert all(label.replace("_", "").isalpha() for label in metric.labels)
        assert not {"le", "quantile", "job", "instance"} & set(metric.labels)

    def test_histograms_alone_have_buckets_that_rise(self, metric):
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(set(metric.buckets))

    def test_known_values_belong_to_a_counter_with_one_label(self, metric):
        assert not metric.values or (metric.kind == "counter" and len(metric.labels) == 1)


def test_every_metric_is_listed_once():
    declared = [each for each in vars(metrics).values() if isinstance(each, Metric)]
    assert declared == list(ALL)
    assert len({each.name for each in ALL}) == len(ALL)


@pytest.fixture
def counts():
    return Metrics()


def test_a_counter_counts_each_combination_of_labels_apart(counts):
    counts.count(metrics.POLLS, "dev", "images", "task")
    counts.count(metrics.POLLS, "dev", "images", "task", by=2)
    counts.count(metrics.POLLS, "dev", "images", "empty")
    assert counts.value(metrics.POLLS, "dev", "images", "task") == 3
    assert counts.value(metrics.POLLS, "dev", "images", "empty") == 1
    assert counts.value(metrics.POLLS, "dev", "emails", "task") == 0


def test_a_counter_with_known_values_is_told_at_zero_before_its_first_event(counts):
    families = {family.metric: dict(family.samples) for family in counts.collect()}
    assert families[metrics.REPLIES]["late",] == 0
    assert set(families[metrics.BROKER_RECONNECTS].values()) == {0}
    assert families[metrics.POLLS] == {}


def test_a_histogram_counts_at_or_below_each_bound_and_sums(counts):
    for seconds in (0.001, 0.002, 0.3, 99.0):
        counts.observe(metrics.PUBLISH_CONFIRM, seconds)
    families = {family.metric: dict(family.samples) for family in counts.collect()}
    told = families[metrics.PUBLISH_CONFIRM][()]
    assert isinstance(told, Distribution)
    by_bound = dict(zip((*metrics.PUBLISH_CONFIRM.buckets, "inf"), told.cumulative, strict=True))
    assert (by_bound[0.001], by_bound[0.0025], by_bound[0.25], by_bound[0.5]) == (1, 2, 2, 3)
    assert (by_bound[30.0], by_bound["inf"]) == (3, 4)
    assert told.sum == pytest.approx(99.303)
    assert counts.value(metrics.PUBLISH_CONFIRM) == 4


def test_a_gauge_is_read_only_when_somebody_looks(counts):
    asked = []
    counts.gauge(metrics.REPLIES_HELD, lambda: asked.append(1) or 7)
    assert asked == []
    assert counts.value(metrics.REPLIES_HELD) == 7
    assert asked == [1]


def test_several_parts_tell_of_one_gauge_each_its_own_labels(counts):
    counts.gauge(metrics.BROKER_CONNECTED, lambda: {("publisher",): 1})
    counts.gauge(metrics.BROKER_CONNECTED, lambda: {("consumer",): 0})
    families = {family.metric: dict(family.samples) for family in counts.collect()}
    assert families[metrics.BROKER_CONNECTED] == {("publisher",): 1, ("consumer",): 0}


def test_a_gauge_that_is_set_keeps_its_last_value(counts):
    counts.set(metrics.LAST_POLL, 5.0, "dev", "images")
    counts.set(metrics.LAST_POLL, 9.0, "dev", "images")
    assert counts.value(metrics.LAST_POLL, "dev", "images") == 9


def test_a_gauge_that_cannot_be_read_spoils_no_other(counts, caplog):
    def broken():
        raise OSError("the journal is gone")

    counts.gauge(metrics.JOURNAL_SIZE, broken)
    counts.gauge(metrics.JOURNAL_WRITABLE, lambda: 1)
    families = {family.metric: family.samples for family in counts.collect()}
    assert families[metrics.JOURNAL_SIZE] == ()
    assert families[metrics.JOURNAL_WRITABLE] == (((), 1),)
    assert [record.message for record in caplog.records] == ["metric.unreadable"]


@pytest.mark.parametrize("labels", [(), ("dev",), ("dev", "images", "task", "more"), ([], {}, 1)])
def test_what_cannot_be_counted_is_told_once_and_raises_into_no_work(counts, caplog, labels):
    for _ in range(2):
        counts.count(metrics.POLLS, *labels)
        counts.observe(metrics.TASK_DURATION, 1.0, *labels)
        counts.observe(metrics.JOURNAL_COMMIT, "no number")
    told = [(record.message, record.metric) for record in caplog.records]
    assert told == [
        ("metric.not_counted", metric.name)
        for metric in (metrics.POLLS, metrics.TASK_DURATION, metrics.JOURNAL_COMMIT)
    ]
    assert all(record.exc_info for record in caplog.records)


def test_no_count_is_lost_between_threads(counts):
    def work():
        for _ in range(20_000):
            counts.count(metrics.TASKS_POLLED, "dev", "images")
            counts.observe(metrics.JOURNAL_COMMIT, 0.002)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts.value(metrics.TASKS_POLLED, "dev", "images") == 80_000
    assert counts.value(metrics.JOURNAL_COMMIT) == 80_000

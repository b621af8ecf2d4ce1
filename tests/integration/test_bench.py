"""The bench measures what it says; with counts so small that its figures mean nothing."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.__main__ import main
from bench.measures import Sizes, floor, in_flight, sides
from bench.plot import plot
from bench.subjects import SUBJECTS
from bench.table import goals, medians, table
from bridge.local.rabbitmq import RabbitNode


def row(subject: str, number: int, value: float) -> dict[str, object]:
    columns = ("CPU µs/task", "tasks/s", "steady p50 ms", "steady p99 ms", "first poll s")
    return {"subject": subject, "round": number, **dict.fromkeys(columns, value)}


def test_rounds_become_one_row_of_medians() -> None:
    found = medians([row("a", 1, 1.0), row("b", 1, 7.0), row("a", 2, 5.0), row("a", 3, 2.0)])
    assert [(each["subject"], each["tasks/s"]) for each in found] == [("a", 2.0), ("b", 7.0)]


def test_a_table_and_the_goals_name_ratios_of_medians() -> None:
    values = (10.0, 20.0, 30.0, 5.0)
    rows = [row(each.name, 1, value) for each, value in zip(SUBJECTS, values, strict=True)]
    assert "| a | 2.00 |" in table("x", [{"subject": "a", "tasks/s": 2.0}])
    told = goals({"sides": rows})
    assert "| CPU µs/task | ≤ 0.2 × bare boto3 loop | 0.50 |" in told
    assert "| tasks/s | ≥ 5 × afternoon bridge | 0.25 |" in told


def test_the_plot_is_well_formed_and_names_each_subject() -> None:
    picture = plot([row(each.name, 1, 1.0 + n) for n, each in enumerate(SUBJECTS)])
    texts = [each.text for each in ElementTree.fromstring(picture).iter() if each.text]
    assert {each.name for each in SUBJECTS} <= set(texts)


def test_every_subject_carries_its_tasks(broker_node: RabbitNode) -> None:
    Path("build").mkdir(exist_ok=True)
    found = list(sides(broker_node, Sizes(tiny=True)))
    assert [each["subject"] for each in found] == [each.name for each in SUBJECTS]
    assert all(each["tasks/s"] > 0 and each["CPU µs/task"] > 0 for each in found)


def test_a_bridge_is_started_anew_over_tasks_in_flight(broker_node: RabbitNode) -> None:
    found = list(in_flight(broker_node, Sizes(tiny=True)))
    assert [each["in flight"] for each in found] == [10, 50]
    assert all(each["restart s"] > 0 for each in found)


def test_the_floor_is_measured_without_a_bridge(broker_node: RabbitNode) -> None:
    (found,) = floor(broker_node, Sizes(tiny=True))
    assert 0 < found["steady p50 ms"] <= found["steady p99 ms"]


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    assert "invalid choice" in capsys.readouterr().err

"""`config/alerts.yml`: each alert has its words, its paragraph, and metrics that exist.

So has each panel of `config/dashboard.json`.
"""

import json
import re
from pathlib import Path

import pytest
import yaml

from bridge.flow.obstacle import PollerState
from bridge.telemetry.metrics import ALL

ROOT = Path(__file__).parents[2]
(GROUP,) = yaml.safe_load((ROOT / "config" / "alerts.yml").read_text())["groups"]
RULES = GROUP["rules"]
OURS = {
    **{each.name: {*each.labels} for each in ALL},
    "up": set(),
    "process_start_time_seconds": set(),
}
PANELS = json.loads((ROOT / "config" / "dashboard.json").read_text())["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
PARTS = ("", "_bucket", "_sum", "_count")
TARGET = {"job", "instance"}
"""Labels that Prometheus gives every series."""
VALUES = {
    "state": {each.value for each in PollerState},
    "outcome": {"task", "empty", "error"} | {v for each in ALL for v in each.values},
}

alert = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


def without_strings(expr: str) -> str:
    return re.sub(r'"[^"]*"', '""', expr)


def metrics_of(rule: dict) -> dict[str, str]:
    """Each metric that the rule names, with its matchers."""
    found = re.findall(r"\b(swf_bridge_\w+|process_\w+|up)\b(?:\{([^}]*)\})?", rule["expr"])
    return dict(found)


def paragraph(rule: dict) -> str:
    url, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    path = url.removeprefix("file:///opt/swf-bridge/share/doc/swf-bridge/")
    sections = re.split(r"^#{1,3} ", (ROOT / path).read_text(), flags=re.MULTILINE)[1:]
    (found,) = [each for each in sections if each.splitlines()[0].lower() == anchor]
    return found


@alert
def test_an_alert_says_how_grave_it_is_and_what_it_means(rule):
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert not rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")


@alert
def test_an_alert_has_a_paragraph_that_says_what_to_do(rule):
    text = paragraph(rule)
    assert text.splitlines()[2].startswith(f"{rule['labels']['severity']}. ")
    for asked in ("Tasks", "Look", "Do"):
        assert f"- **{asked}:** " in text


def test_no_paragraph_is_left_without_its_alert():
    text = (ROOT / "docs" / "alerts.md").read_text()
    assert re.findall(r"^### (\w+)$", text, re.MULTILINE) == [rule["alert"] for rule in RULES]


@alert
def test_an_alert_asks_for_metrics_and_labels_that_the_daemon_has(rule):
    assert metrics_of(rule)
    for name, matchers in metrics_of(rule).items():
        labels = re.findall(r'(\w+)[!=~]+"([^"]*)"', matchers)
        assert {label for label, _ in labels} <= OURS[name] | TARGET, name
        for label, wanted in labels:
            if label in VALUES:
                assert set(wanted.split("|")) <= VALUES[label]
    joined = re.findall(r"\b(?:by|on) \(([^)]*)\)", without_strings(rule["expr"]))
    known = TARGET.union(*(OURS[name] for name in metrics_of(rule)))
    assert {label for labels in joined for label in labels.split(", ")} <= known


@alert
def test_an_alert_names_only_labels_that_it_has(rule):
    told = rule["annotations"]["summary"] + rule["annotations"]["description"]
    by = re.search(r"\b(?:sum|max) by \(([^)]*)\)", rule["expr"])
    first = next(iter(metrics_of(rule)))
    has = set(by[1].split(", ")) if by else OURS[first] | TARGET
    assert set(re.findall(r"\$labels\.(\w+)", told)) <= has


def test_the_dashboard_asks_for_metrics_that_the_daemon_has():
    asked = {name for query in QUERIES for name in re.findall(r"\bswf_bridge_\w+", query)}
    has = {each.name + part for each in ALL for part in PARTS if not part or each.buckets}
    assert asked <= has
    assert len(asked) > 15


def test_no_panel_of_the_dashboard_lies_on_another_or_has_its_number():
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [
        (at["x"] + x, at["y"] + y)
        for at in (panel["gridPos"] for panel in PANELS)
        for x in range(at["w"])
        for y in range(at["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) == 23

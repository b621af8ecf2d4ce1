"""`promtool` finds nothing amiss in the daemon's /metrics, in the rules, and in their tests."""

import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml

from bridge.local import LocalSwf
from tests.acceptance.harness import Site, Start
from tests.acceptance.prometheus import RULES, alerts, skip_without_prometheus
from tests.worker import Worker

TESTS = RULES.with_suffix(".test.yml")


@pytest.fixture(autouse=True)
def _promtool() -> None:
    skip_without_prometheus()


def promtool(*args: str, given: bytes = b"") -> str:
    done = subprocess.run(
        ["promtool", *args], input=given, capture_output=True, timeout=60, check=False
    )
    told = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, told
    return told


def test_every_metric_of_a_daemon_at_work_is_well_formed(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start(http="127.0.0.1:0")
    site = Site(swf, bridge, worker)
    task_id, taken = site.hand_out()
    worker.complete(taken)
    site.closed(task_id)
    worker.send(b"no JSON")
    bridge.wait("reply.dead_lettered")
    address = bridge.wait("status.listening")["address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        told = answer.read()
    assert b'swf_bridge_tasks_polled_total{domain="demo",task_list="demo"} 1.0' in told
    assert b'swf_bridge_dead_letters_total{code="not-json"} 1.0' in told
    assert promtool("check", "metrics", given=told) == ""


def test_what_is_amiss_would_be_found() -> None:
    broken = b"# TYPE swf_bridge_wrong counter\nswf_bridge_wrong 1\n"
    with pytest.raises(AssertionError, match="should have"):
        promtool("check", "metrics", given=broken)


def test_the_rules_are_valid() -> None:
    assert f"SUCCESS: {len(alerts())} rules found" in promtool("check", "rules", str(RULES))


def test_each_alert_fires_at_its_bound_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(TESTS))
    text = TESTS.read_text()
    assert set(re.findall(r'alertname="(\w+)"', text)) == {rule["alert"] for rule in alerts()}


def test_a_wrong_bound_would_be_found(tmp_path: Path) -> None:
    rules = yaml.safe_load(RULES.read_text())
    rules["groups"][0]["rules"][0]["for"] = "3m"
    (tmp_path / RULES.name).write_text(yaml.safe_dump(rules))
    (tmp_path / TESTS.name).write_text(TESTS.read_text())
    with pytest.raises(AssertionError, match="SwfBridgeDown"):
        promtool("test", "rules", str(tmp_path / TESTS.name))

import json
import os
from pathlib import Path

import pytest

from bridge.__main__ import main
from bridge.cli.service import check
from bridge.settings.settings import Settings
from tests.integration.cli_process import LISTS, swf_bridge


def test_check_tells_what_it_checked_and_what_it_did_not_try():
    ended = swf_bridge("check", **LISTS)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        f"✓ settings: 2 given, {len(Settings.model_fields) - 2} by default",
        "✓ task list demo/images: 2 pollers, 100 in flight",
        "✓ replies: 64 MiB in hand at most",
        "✓ RabbitMQ: amqp://guest:***@localhost:5672/%2F",
        "✓ journal: swf-bridge.db",
        "✓ control: swf-bridge.sock",
        "✓ http: 127.0.0.1:9464",
        "✓ open files: at most 185, which is allowed",
        "✓ region: eu-west-1",
        "? credentials, SWF domains, RabbitMQ: not tried; --connect tries them",
    ]


def test_values_whose_quotes_came_along_are_named():
    quoted = {"SWF_BRIDGE_IDENTITY": '"bridge"', "AWS_SESSION_TOKEN": "'token'"}
    ended = swf_bridge("check", **LISTS, **quoted)
    told = [line for line in ended.out.splitlines() if "quotes" in line]
    assert [line.split(":")[0] for line in told] == [
        "! AWS_SESSION_TOKEN",
        "! SWF_BRIDGE_IDENTITY",
    ]
    ended = swf_bridge("check", **LISTS, SWF_BRIDGE_POLLERS='"2"')
    assert ended.code == 78
    assert ended.err == (
        "SWF_BRIDGE_POLLERS: must be a whole number from 1 to 1000; the quotes around it are part"
        " of the value\n"
    )


def test_without_a_region_check_fails_as_the_start_would():
    for command in ("check", "run"):
        ended = swf_bridge(command, **LISTS | {"AWS_REGION": ""})
        assert (ended.code, ended.err) == (
            78,
            "AWS_REGION: is not set, and no profile names a region\n",
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
def test_a_journal_that_this_user_cannot_write_is_wrong(tmp_path):
    tmp_path.chmod(0o500)
    ended = swf_bridge("check", **LISTS, SWF_BRIDGE_JOURNAL=str(tmp_path / "journal.db"))
    assert ended.code == 78
    assert f"✗ {tmp_path}/journal.db cannot be written by this user" in ended.out


def test_config_and_topology_need_no_task_lists():
    environ = {"AWS_REGION": "eu-west-1"}
    told = json.loads(swf_bridge("config", "--json", **environ).out)
    assert told["SWF_BRIDGE_TASK_LISTS"] == {"value": "", "source": "default"}
    assert json.loads(swf_bridge("topology", **environ).out)["queues"]
    ended = swf_bridge("config", **environ, SWF_BRIDGE_TASK_LISTS="[]")
    assert (ended.code, ended.err) == (78, "SWF_BRIDGE_TASK_LISTS: names no task list\n")
    assert swf_bridge("check", **environ).code == 78


@pytest.mark.parametrize("command", ["check", "config"])
def test_where_no_systemd_knows_the_unit_that_is_said(command):
    ended = swf_bridge(command, "--instance", "no-such-bridge", **LISTS)
    assert (ended.code, ended.out) == (69, "")
    assert ended.err.startswith("swf-bridge: ")
    assert "Traceback" not in ended.err


def test_check_notes_what_will_not_do_what_was_meant():
    ended = swf_bridge("check", **LISTS, SWF_BRIDGE_POLLERS="101")
    assert ended.code == 0
    assert [line for line in ended.out.splitlines() if line.startswith("!")] == [
        "! task list demo/images: more pollers than tasks that may be in flight",
    ]


def test_check_does_not_fail_where_the_terminal_has_no_check_mark():
    ended = swf_bridge("check", **LISTS, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert ended.code == 0
    assert "\\u2713 settings" in ended.out


def test_settings_that_others_can_read_are_named(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o755)
    modes = {"bridge.env": 0o600, "eu.env": 0o644, "key": 0o640, "a.example": 0o644}
    for name, mode in modes.items():
        (folder / name).write_text("x")
        (folder / name).chmod(mode)
    assert [each.name for each in check.exposed(folder)] == ["eu.env", "key"]
    monkeypatch.setattr(check, "FOLDER", folder)
    for name, value in LISTS.items():
        monkeypatch.setenv(name, value)
    assert main(["check"]) == 0
    assert f"! {folder / 'eu.env'} can be read by others" in capsys.readouterr().out
    folder.chmod(0o700)
    assert check.exposed(folder) == []
    assert check.exposed(tmp_path / "none") == []


def test_topology_prints_the_permissions_of_a_worker_as_the_operations_page_has_them():
    ended = swf_bridge("topology", "--worker", "greeter=Greeter.say.1.0", **LISTS)
    told = json.loads(ended.out)
    (worker,) = [each for each in told["permissions"] if each["user"] == "greeter"]
    tasks, cancellations = told["topic_permissions"]
    assert (tasks["exchange"], cancellations["exchange"]) == ("swf.activities", "swf.cancellations")
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert f"greeter '{worker['configure']}'  '{worker['write']}'" in page
    assert f"greeter swf.activities '{tasks['write']}' '{tasks['read']}'" in page
    assert tasks["read"] == cancellations["read"]


@pytest.mark.parametrize("worker", ["greeter", "=a", "greeter=", "greeter=a,,b"])
def test_a_worker_without_name_or_keys_is_no_worker(worker):
    assert swf_bridge("topology", "--worker", worker, **LISTS).code == 64


def test_check_prints_what_is_to_be_noted_and_goes_on():
    ended = swf_bridge("check", **LISTS, SWF_BRIDGE_HTTP="0.0.0.0:9464")
    assert ended.code == 0
    assert "! SWF_BRIDGE_HTTP: the page has no login" in ended.out


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_check_refuses_authorities_of_aws_that_are_not_there(name):
    ended = swf_bridge("check", **LISTS, **{name: "/nowhere/ca.pem"})
    assert (ended.code, ended.out) == (78, "")
    assert ended.err.strip().endswith(f"{name}: names no file")

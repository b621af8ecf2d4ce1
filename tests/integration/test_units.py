import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bridge.settings.settings import Settings
from tests.environment import settings_of
from tests.integration.cli_process import LISTS

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = ["swf-bridge.service", "swf-bridge@.service", "swf-bridge-peer@.service"]
MOST_EXPOSED = 11  # ten times the score

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def directives(unit):
    """Every ``Key=value`` of a unit; a key that is there several times has all its values."""
    found = {}
    for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", (SYSTEMD / unit).read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def analyze(*args):
    ended = subprocess.run(
        ["systemd-analyze", *args], capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr


def verify(folder, unit, change=lambda text: text):
    """Let systemd read a copy of the unit, whose program is one that is there."""
    text = (SYSTEMD / unit).read_text().replace("/opt/swf-bridge/bin/swf-bridge", "/bin/true")
    path = folder / unit.replace("@", "@eu-west-1")
    path.write_text(change(text))
    return analyze("verify", "--man=no", "--recursive-errors=yes", str(path))


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_reads_the_unit_without_a_complaint(unit, tmp_path):
    assert verify(tmp_path, unit) == (0, "")


@needs_systemd
def test_a_directive_that_systemd_does_not_know_would_be_seen(tmp_path):
    code, said = verify(tmp_path, UNITS[0], lambda text: text.replace("UMask=", "Umask="))
    assert code != 0
    assert "Umask" in said


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_the_sandbox_leaves_little_exposed(unit):
    code, said = analyze(
        "security", "--offline=true", f"--threshold={MOST_EXPOSED}", SYSTEMD / unit
    )
    assert code == 0, said


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_the_drop_in_for_credentials_is_read_without_a_complaint_all_of_it(unit, tmp_path):
    text = (SYSTEMD / "credentials.conf.example").read_text()
    drop_ins = tmp_path / f"{unit.replace('@', '@eu-west-1')}.d"
    drop_ins.mkdir()
    everything = re.sub(r"^#(?=[A-Z][A-Za-z]+=)", "", text, flags=re.MULTILINE)
    assert everything.count("\nLoadCredential") == text.count("LoadCredential")
    (drop_ins / "credentials.conf").write_text(everything)
    assert verify(tmp_path, unit) == (0, "")


def test_credentials_in_the_drop_in_are_settings_or_names_of_their_own():
    text = (SYSTEMD / "credentials.conf.example").read_text()
    names = re.findall(r"^#?LoadCredential(?:Encrypted)?=([^:]+):", text, re.MULTILINE)
    ours = {name.removeprefix("swf_bridge_") for name in names if name.startswith("swf_bridge_")}
    assert ours == {"amqp_url", "sentry_dsn"} <= set(Settings.model_fields)


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_keeps_what_the_operator_is_promised(unit):
    found = directives(unit)
    promised = {
        "Type": "notify",
        "ExecStart": "/opt/swf-bridge/bin/swf-bridge run",
        "DynamicUser": "yes",
        "Restart": "on-failure",
        "RestartSec": "5",
        "StartLimitIntervalSec": "0",
        "RestartPreventExitStatus": "64 78",
        "TimeoutStopSec": "120",
        "TimeoutAbortSec": "30",
    }
    assert {name: found[name] for name in promised} == {n: [v] for n, v in promised.items()}


@pytest.mark.parametrize(
    ("unit", "settings", "directory"),
    [
        ("swf-bridge.service", "/etc/swf-bridge/bridge.env", "swf-bridge"),
        ("swf-bridge@.service", "/etc/swf-bridge/%i.env", "swf-bridge/%i"),
        ("swf-bridge-peer@.service", "-/etc/swf-bridge/peer-%i.env", "swf-bridge-peer/%i"),
    ],
)
def test_each_instance_has_settings_and_directories_of_its_own(unit, settings, directory):
    found = directives(unit)
    assert found["EnvironmentFile"][-1] == settings
    assert found["StateDirectory"] == found["RuntimeDirectory"] == [directory]


def test_instances_of_the_template_share_no_queue_that_holds_tokens():
    given = dict(each.split("=", 1) for each in directives("swf-bridge@.service")["Environment"])
    one, two = (
        settings_of({name: value.replace("%i", instance) for name, value in given.items()} | LISTS)
        for instance in ("us-east-1", "eu-west-1")
    )
    queues = ("reply_queue", "dead_letter_queue", "undeliverable")
    assert {getattr(one, each) for each in queues}.isdisjoint(getattr(two, each) for each in queues)
    plain = settings_of(LISTS)
    assert {getattr(one, each) for each in queues}.isdisjoint(
        getattr(plain, each) for each in queues
    )


@pytest.mark.parametrize("unit", UNITS)
def test_a_drain_has_time_to_end(unit):
    assert settings_of(LISTS).drain_timeout + 30 <= int(directives(unit)["TimeoutStopSec"][0])


def test_a_peer_shares_the_settings_of_the_first_but_for_what_two_on_a_machine_cannot_share():
    found = directives("swf-bridge-peer@.service")
    assert found["EnvironmentFile"][0] == directives("swf-bridge.service")["EnvironmentFile"][0]
    given = dict(each.split("=", 1) for each in found["Environment"])
    first, peer = settings_of(LISTS), settings_of(given | LISTS)
    differ = {name for name, told in first.shown().items() if peer.shown()[name] != told}
    assert differ == {"http", "identity"}


@pytest.mark.parametrize("unit", UNITS[1:])
def test_the_units_differ_only_in_what_makes_an_instance(unit):
    plain, template = directives(UNITS[0]), directives(unit)
    own = {"Description", "EnvironmentFile", "Environment", "StateDirectory", "RuntimeDirectory"}
    own |= {"AssertPathIsSymbolicLink", "AssertPathExists"}  # which stands not beside which
    assert {n: v for n, v in plain.items() if n not in own} == {
        n: v for n, v in template.items() if n not in own
    }

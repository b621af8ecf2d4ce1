import resource

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.__main__ import main
from tests.integration.cli_process import LISTS, swf_bridge

BAD = {
    "DOMAIN": "a:b",
    "TASK_LISTS": '["a", {"name": "arn"}]',
    "POLLERS": "0",
    "MAX_IN_FLIGHT": "-1",
    "IN_FLIGHT_TIMEOUT": "never",
    "IDENTITY": "x" * 257,
    "READ_TIMEOUT": "69",
    "AMQP_URL": "redis://u:hunter2@h",
    "AMQP_CA_FILE": "/no/such/hunter2",
    "AMQP_CERT_FILE": "/no/such/hunter2",
    "AMQP_KEY_FILE": "/no/such/hunter2",
    "EXCHANGE": "amq.fanout",
    "ROUTING_KEY": "{input}",
    "REPLY_QUEUE": "x" * 256,
    "DEAD_LETTER_QUEUE": "a\tb",
    "CANCEL_EXCHANGE": "amq.topic",
    "UNDELIVERABLE": "y" * 256,
    "RESPONDERS": "2.5",
    "UNROUTABLE_TIMEOUT": "-1",
    "KEEPALIVE": "sometimes",
    "KEEPALIVE_LIMIT": "0",
    "DEADLINES": "sometimes",
    "DEADLINE_CALLS": "0",
    "JOURNAL": "/",
    "CONTROL": "/tmp/" + "x" * 108,
    "DRAIN_TIMEOUT": "inf",
    "HTTP": "localhost",
    "SWF_CLIENT": "java",
    "LOG_LEVEL": "9",
    "LOG_FORMAT": "yaml",
    "SENTRY_DSN": "https://hunter2@h",
    "SENTRY_ENVIRONMENT": "x" * 65,
    "SENTRY_TRACES_SAMPLE_RATE": "1.1",
    "DECLARE": "perhaps",
    "POLERS": "2",
}


def assert_refused(ended, variable):
    assert ended.code == 78, ended
    assert ended.out == ""
    assert any(line.startswith(f"{variable}: ") for line in ended.err.splitlines()), ended
    assert "Traceback" not in ended.err
    assert "hunter2" not in ended.err


@pytest.mark.parametrize("name", BAD)
def test_a_bad_setting_ends_the_daemon_within_three_seconds_and_names_its_variable(
    name, monkeypatch
):
    monkeypatch.setenv("TESTS_EXEC", "1")  # the libraries take most of the time
    variable = f"SWF_BRIDGE_{name}"
    # Of the processor's time: the machine may have other work. It waits for nothing.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = swf_bridge("run", **LISTS | {variable: BAD[name]})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3
    assert_refused(ended, variable)


def test_a_misspelt_variable_is_told_with_what_was_meant():
    ended = swf_bridge("run", **LISTS, SWF_BRIDGE_POLERS="3")
    assert ended.err == "SWF_BRIDGE_POLERS: no such setting; did you mean SWF_BRIDGE_POLLERS?\n"


@pytest.mark.parametrize("command", ["run", "check", "config"])
def test_every_command_that_needs_the_settings_tells_all_that_is_wrong(command):
    ended = swf_bridge(command, **{f"SWF_BRIDGE_{name}": value for name, value in BAD.items()})
    for name in BAD:
        assert_refused(ended, f"SWF_BRIDGE_{name}")


PASSWORDS = st.text("abcdefXYZ0123456789%/:@?#&,;=+!$'\"\\ é\t", min_size=12)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(password=PASSWORDS, host=st.sampled_from(["h", "h:1", "h:x", "[::1]", "[", ""]))
@pytest.mark.parametrize("command", ["check", "config"])
def test_no_password_of_a_url_is_ever_printed(command, password, host, capsys, monkeypatch):
    for name, value in LISTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SWF_BRIDGE_AMQP_URL", f"amqp://user:{password}@{host}/v")
    main([command])
    shown = "".join(capsys.readouterr())
    assert shown
    assert not [part for part in pieces(password) if part in shown]


def pieces(password, size=6):
    """Every run of the password: a part of it would be as bad as the whole."""
    return {password[i : i + size] for i in range(len(password) - size + 1)}


def test_a_journal_that_is_a_link_ends_the_daemon_with_78_and_one_line(tmp_path):
    path = tmp_path / "journal.db"
    path.symlink_to(tmp_path / "theirs")
    ended = swf_bridge("run", **LISTS, SWF_BRIDGE_JOURNAL=str(path))
    assert ended.code == 78
    (line,) = ended.err.strip().splitlines()
    assert line.endswith(f"SWF_BRIDGE_JOURNAL: {path} is a symbolic link")

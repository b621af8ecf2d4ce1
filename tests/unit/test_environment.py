import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError
from tests.environment import settings_of
from tests.unit.settings_given import GOOD, load, problems


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    """A credentials directory as systemd makes it; call with name and text."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    monkeypatch.setitem(GOOD, "CREDENTIALS_DIRECTORY", str(directory))
    return lambda name, text: (directory / name).write_bytes(text.encode())


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("SWF_BRIDGE_POLERS", "SWF_BRIDGE_POLLERS"),
        ("SWF_BRIDGE_TASKLISTS", "SWF_BRIDGE_TASK_LISTS"),
        ("SWF_BRIDGE_AMQP_URI", "SWF_BRIDGE_AMQP_URL"),
        ("swf_bridge_domain", "SWF_BRIDGE_DOMAIN"),
        ("Swf_Bridge_Log_Level", "SWF_BRIDGE_LOG_LEVEL"),
    ],
)
def test_a_variable_that_does_not_exist_is_told_with_the_nearest_that_does(name, nearest):
    with pytest.raises(ConfigError) as caught:
        settings_of(GOOD | {name: "1"})
    assert caught.value.problems == (f"{name}: no such setting; did you mean {nearest}?",)


@pytest.mark.parametrize("between", [" ", ": ", "\t", "-"])
def test_a_value_that_stands_in_the_name_by_mistake_is_not_told(between):
    given = f"SWF_BRIDGE_AMQP_URL{between}amqp://u:hunter2@h/?heartbeat"
    with pytest.raises(ConfigError) as caught:
        settings_of(GOOD | {given: "30"})
    (problem,) = caught.value.problems
    assert problem == ("SWF_BRIDGE_AMQP_URL...: no such setting; did you mean SWF_BRIDGE_AMQP_URL?")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0="), max_size=40))
def test_whatever_a_variable_is_called_its_problem_is_one_line(tail):
    environ = {f"SWF_BRIDGE_{tail}-": "x"} | GOOD
    with pytest.raises(ConfigError) as caught:
        settings_of(environ)
    (problem,) = caught.value.problems
    assert problem.isprintable()


def test_variables_of_others_are_left_alone():
    settings_of(
        GOOD | {"SWF_BRIDGE": "1", "SWF_REGION": "x", "AWS_REGION": "eu-west-1", "HTTP": "x"}
    )


def test_all_problems_are_told_at_once():
    told = problems(
        POLERS="1",
        DOMAIN="a:b",
        HTTP="x",
        AMQP_URL="x",
        AMQP_CERT_FILE="/no",
        DEAD_LETTER_QUEUE="swf.replies",
    )
    assert [each.partition(":")[0] for each in told] == [
        "SWF_BRIDGE_POLERS",
        "SWF_BRIDGE_AMQP_CERT_FILE",
        "SWF_BRIDGE_DOMAIN",
        "SWF_BRIDGE_AMQP_URL",
        "SWF_BRIDGE_AMQP_CERT_FILE",
        "SWF_BRIDGE_DEAD_LETTER_QUEUE",
        "SWF_BRIDGE_HTTP",
    ]


def test_a_credential_sets_what_it_is_named_after(credentials):
    credentials("swf_bridge_amqp_url", "amqp://u:pä@h/v\n")
    credentials("unrelated", "x")
    settings = load()
    assert settings.amqp_urls == ("amqp://u:pä@h/v",)
    assert settings.sources()["amqp_url"] == "credential: swf_bridge_amqp_url"


def test_the_environment_wins_over_a_credential_and_an_empty_variable_does_not(credentials):
    credentials("swf_bridge_pollers", "5")
    assert load(POLLERS="").pollers == 5
    settings = load(POLLERS="6")
    assert settings.pollers == 6
    assert settings.sources()["pollers"] == "environment"


def test_a_wrong_credential_is_told_by_the_variable(credentials):
    credentials("swf_bridge_pollers", "x")
    assert problems() == ["SWF_BRIDGE_POLLERS: must be a whole number from 1 to 1000"]


@pytest.mark.parametrize("name", ["swf_bridge_amqp_uri", "SWF_BRIDGE_AMQP_URL"])
def test_a_credential_that_sets_nothing_is_told(credentials, name):
    credentials(name, "x")
    assert problems() == [f"{name}: no such credential; did you mean swf_bridge_amqp_url?"]


def test_a_credential_that_is_not_text_is_told(credentials, tmp_path):
    (tmp_path / "credentials" / "swf_bridge_amqp_url").write_bytes(b"\xff\xfe")
    (tmp_path / "credentials" / "swf_bridge_sentry_dsn").mkdir()
    assert problems() == [
        "SWF_BRIDGE_AMQP_URL: is not valid UTF-8",
        "SWF_BRIDGE_SENTRY_DSN: its credential cannot be read: Is a directory",
    ]


@pytest.mark.parametrize("mode", [0o400, 0o440])
def test_owner_and_mode_of_a_credential_are_systemds_to_choose(credentials, tmp_path, mode):
    credentials("swf_bridge_pollers", "4")
    path = tmp_path / "credentials" / "swf_bridge_pollers"
    path.chmod(mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert load().pollers == 4


def test_a_plain_sentry_dsn_counts_unless_there_is_one_of_ours():
    plain = GOOD | {"SENTRY_DSN": "https://plain@h/1"}
    assert settings_of(plain).sentry_dsn.get_secret_value() == "https://plain@h/1"
    assert settings_of(plain).sources()["sentry_dsn"] == "environment: SENTRY_DSN"
    ours = settings_of(plain | {"SWF_BRIDGE_SENTRY_DSN": "https://ours@h/2"})
    assert ours.sentry_dsn.get_secret_value() == "https://ours@h/2"
    with pytest.raises(ConfigError, match=r"^SENTRY_DSN: "):
        settings_of(GOOD | {"SENTRY_DSN": "x"})

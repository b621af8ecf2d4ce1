import json
import socket

import pytest

from bridge.settings.environment import variable
from bridge.settings.settings import Settings
from bridge.settings.validators import HttpAddress
from tests.environment import settings_of
from tests.unit.settings_given import GOOD, load, problems

POLLERS = "must be a whole number from 1 to 1000"
KEEPALIVE = "must be off or a number from 1 to 31536000"
RABBITMQS = "must not begin with amq., which RabbitMQ keeps for itself"
NOTICE_QUEUE = "must not begin with swf.bridge., as queues of the bridge's own do"
WITH = "with .notices, which the bridge calls an exchange of its own"
ADDRESS = "must be host:port, [IPv6 address]:port or off"
DSN = "must be http(s)://KEY@HOST/PROJECT, PROJECT being a number"


def lists(*entries, **given):
    return load(TASK_LISTS=json.dumps(entries), **given).task_lists


def list_problems(*entries, **given):
    return problems(TASK_LISTS=json.dumps(entries), **given)


def test_the_exchange_of_tasks_is_not_that_of_notices():
    assert problems(EXCHANGE="r.notices", REPLY_QUEUE="r") == [
        "SWF_BRIDGE_REPLY_QUEUE: clashes with .notices, which the bridge calls an exchange of its"
        " own"
    ]


@pytest.mark.parametrize("queue", ["swf.replies", "swf.replies.dead", "swf.undeliverable"])
def test_a_list_is_not_polled_on_demand_of_a_queue_of_the_bridge(queue):
    lists = json.dumps([{"name": "a", "queue": queue}])
    (problem,) = problems(TASK_LISTS=lists)
    assert problem.endswith(": must differ from the queues in SWF_BRIDGE_TASK_LISTS")
    (problem,) = problems(TASK_LISTS='[{"name": "a", "queue": "swf.bridge.x"}]')
    assert "must not begin with swf.bridge." in problem


def test_everything_but_the_task_lists_has_the_default_that_the_contract_names(tmp_path):
    shown = load().shown()
    assert {name: shown[name] for name in shown if name not in ("domain", "task_lists")} == {
        "pollers": "2",
        "max_in_flight": "100",
        "in_flight_timeout": "86400",
        "identity": f"swf-bridge@{socket.gethostname()}",
        "read_timeout": "70",
        "amqp_url": "amqp://guest:***@localhost:5672/%2F",
        "amqp_ca_file": "",
        "amqp_cert_file": "",
        "amqp_key_file": "",
        "exchange": "swf.activities",
        "routing_key": "{name}.{version}",
        "reply_queue": "swf.replies",
        "dead_letter_queue": "swf.replies.dead",
        "cancel_exchange": "swf.cancellations",
        "undeliverable": "swf.undeliverable",
        "responders": "8",
        "reply_memory": "64",
        "unroutable_timeout": "60",
        "keepalive": "off",
        "keepalive_limit": "3600",
        "deadlines": "off",
        "deadline_calls": "20",
        "journal": "swf-bridge.db",
        "control": "swf-bridge.sock",
        "drain_timeout": "75",
        "http": "127.0.0.1:9464",
        "http_names": "",
        "swf_client": "auto",
        "log_level": "INFO",
        "log_format": "auto",
        "sentry_dsn": "",
        "sentry_environment": "",
        "sentry_traces_sample_rate": "0",
        "amqp_shuffle": "true",
        "declare": "true",
    }
    assert load().amqp_urls == ("amqp://guest:guest@localhost:5672/%2F",)


def test_every_setting_says_what_it_means():
    assert all(field.description for field in Settings.model_fields.values())


def test_an_empty_variable_counts_as_unset():
    everything = {variable(name): "" for name in Settings.model_fields} | GOOD
    assert settings_of(everything) == load()
    assert problems(TASK_LISTS="") == ["SWF_BRIDGE_TASK_LISTS: is not set"]


def test_systemds_directories_take_the_journal_and_the_socket(tmp_path):
    state, runtime = tmp_path / "state", tmp_path / "run"
    state.mkdir()
    runtime.mkdir()
    environ = GOOD | {"STATE_DIRECTORY": f"{state}:/other", "RUNTIME_DIRECTORY": f"{runtime}:/x"}
    settings = settings_of(environ)
    assert (settings.journal, settings.control) == (state / "journal.db", runtime / "control.sock")
    assert settings.sources()["journal"] == "default"


def test_without_a_runtime_directory_the_socket_lies_beside_the_journal(tmp_path):
    assert load(JOURNAL=str(tmp_path / "one.db")).control == tmp_path / "one.sock"


def test_names_separated_by_commas_take_every_default():
    first, second = load(POLLERS="3", MAX_IN_FLIGHT="7").task_lists
    assert (first.name, first.domain, first.pollers, first.max_in_flight) == (
        "images",
        "demo",
        3,
        7,
    )
    assert second.shown == "demo/emails"


def test_an_object_overrides_the_defaults_and_null_counts_as_absent():
    plain, own = lists(
        "images",
        {"name": "mail", "domain": "other", "pollers": 9, "max_in_flight": 1, "keepalive": "off",
         "queue": None, "deadlines": "history"},
        KEEPALIVE="30",
        DEADLINES="type",
    )  # fmt: skip
    assert (plain.deadlines, own.deadlines) == ("type", "history")
    assert (plain.domain, plain.pollers, plain.keepalive) == ("demo", 2, 30)
    assert (own.domain, own.pollers, own.max_in_flight, own.keepalive) == ("other", 9, 1, 0)
    assert own.queue is None


def test_an_unknown_key_is_named_with_the_nearest():
    assert list_problems("a", {"name": "b", "poler": 3}) == [
        'SWF_BRIDGE_TASK_LISTS: entry 2 has an unknown key "poler"; did you mean "pollers"?'
    ]


def test_the_same_list_twice_is_refused_and_the_same_name_in_two_domains_is_not():
    assert list_problems("a", "b", {"name": "a", "domain": "demo"}) == [
        "SWF_BRIDGE_TASK_LISTS: entry 3 is the same task list as entry 1"
    ]
    assert len(lists("a", {"name": "a", "domain": "other"})) == 2


def test_a_list_without_any_domain_names_the_variable_that_would_give_one():
    assert list_problems({"name": "a", "domain": "d"}, "b", DOMAIN="") == [
        "SWF_BRIDGE_DOMAIN: is not set,"
        " and entry 2 of SWF_BRIDGE_TASK_LISTS has no domain of its own"
    ]


def test_a_wrong_default_is_told_once_and_not_again_for_each_list():
    assert problems(DOMAIN="a/b", POLLERS="0") == [
        "SWF_BRIDGE_DOMAIN: must not contain any of : / |",
        "SWF_BRIDGE_POLLERS: must be a whole number from 1 to 1000",
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (3, " must be a name or an object"),
        ({"pollers": 3}, ": name is not set"),
        ({"name": 7}, ": name must be text"),
        ({"name": "\ud800"}, ": name must be text in UTF-8"),
        ({"name": "a", "pollers": 1001}, f": pollers {POLLERS}"),
        ({"name": "a", "pollers": True}, f": pollers {POLLERS}"),
        (
            {"name": "a", "max_in_flight": 1.5},
            ": max_in_flight must be a whole number from 1 to 1000000",
        ),
        ({"name": "a", "keepalive": 0.5}, f": keepalive {KEEPALIVE}"),
        ({"name": "a", "deadlines": "on"}, ": deadlines must be one of off type history"),
        ({"name": "a", "keepalive": True}, f": keepalive {KEEPALIVE}"),
        ({"name": "a", "keepalive": 10**400}, f": keepalive {KEEPALIVE}"),
        ({"name": "a", "queue": "q" * 256}, ": queue must have 1 to 255 bytes in UTF-8"),
        ({"name": "a", "name\n": 1}, ' has an unknown key "name\\n"; did you mean "name"?'),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_told_by_its_place(entry, problem):
    assert list_problems("good", entry) == [f"SWF_BRIDGE_TASK_LISTS: entry 2{problem}"]


@pytest.mark.parametrize("text", ["[", '["a"', "[" * 100_000, '[{"name": 1' + "0" * 5000 + "}]"])
def test_what_begins_like_json_must_be_json(text):
    assert problems(TASK_LISTS=text) == [
        "SWF_BRIDGE_TASK_LISTS: begins with [ but is not a JSON array"
    ]


def test_no_list_at_all_is_refused():
    assert list_problems() == ["SWF_BRIDGE_TASK_LISTS: names no task list"]
    assert problems(TASK_LISTS="a,,b") == [
        "SWF_BRIDGE_TASK_LISTS: entry 2: name must have 1 to 256 characters"
    ]


@pytest.mark.parametrize(
    "name",
    [
        " a", "a ", "\u2003a", "a\tb", "a\x7fb", "a\x85b", "a:b", "a/b", "a|b", "arn", "x" * 257,
        "😀" * 129,
    ],
)  # fmt: skip
def test_a_name_that_swf_forbids_is_refused(name):
    (problem,) = list_problems(name)
    assert problem.startswith("SWF_BRIDGE_TASK_LISTS: entry 1: name must ")
    (problem,) = problems(DOMAIN=name)
    assert problem.startswith("SWF_BRIDGE_DOMAIN: must ")


@pytest.mark.parametrize(
    "name", ["a b", "learn", "arn2", "ARN", "*.#", "x" * 256, "😀" * 128, "日本"]
)
def test_a_name_that_swf_allows_is_taken_as_it_is(name):
    assert lists(name)[0].name == name


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("POLLERS", 1, 1000),
        ("MAX_IN_FLIGHT", 1, 1_000_000),
        ("RESPONDERS", 1, 1000),
        ("IN_FLIGHT_TIMEOUT", 1, 31_536_000),
        ("READ_TIMEOUT", 70, 3600),
        ("KEEPALIVE_LIMIT", 1, 31_536_000),
        ("UNROUTABLE_TIMEOUT", 0, 31_536_000),
        ("DRAIN_TIMEOUT", 0, 31_536_000),
        ("SENTRY_TRACES_SAMPLE_RATE", 0, 1),
    ],
)
def test_a_number_has_two_borders(name, low, high):
    whole = name in ("POLLERS", "MAX_IN_FLIGHT", "RESPONDERS")
    kind = "a whole number" if whole else "a number"
    for good in (low, high):
        assert getattr(load(**{name: str(good)}), name.lower()) == good
    bad = [str(low - 0.5), str(high + 1), "many", "nan", "inf", "0x10", "1" * 5000]
    for text in [*bad, "1.5"] if whole else bad:
        assert problems(**{name: text}) == [
            f"SWF_BRIDGE_{name}: must be {kind} from {low} to {high}"
        ]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("IDENTITY", "x" * 257, "must have 1 to 256 characters"),
        ("KEEPALIVE", "0.5", KEEPALIVE),
        ("KEEPALIVE", "on", KEEPALIVE),
        ("EXCHANGE", "x" * 256, "must have 1 to 255 bytes in UTF-8"),
        ("REPLY_QUEUE", "é" * 128, "must have 1 to 255 bytes in UTF-8"),
        ("DEAD_LETTER_QUEUE", "a\x01b", "must not contain control characters"),
        ("CANCEL_EXCHANGE", "amq.topic", RABBITMQS),
        ("UNDELIVERABLE", "amq.x", RABBITMQS),
        ("DEAD_LETTER_QUEUE", "swf.replies", "must differ from SWF_BRIDGE_REPLY_QUEUE"),
        ("CANCEL_EXCHANGE", "swf.activities", "must differ from SWF_BRIDGE_EXCHANGE"),
        ("UNDELIVERABLE", "swf.replies", "must differ from SWF_BRIDGE_REPLY_QUEUE"),
        ("UNDELIVERABLE", "swf.activities", "must differ from SWF_BRIDGE_EXCHANGE"),
        ("REPLY_QUEUE", "swf.bridge.x", NOTICE_QUEUE),
        ("DEAD_LETTER_QUEUE", "swf.bridge.quorum.1", NOTICE_QUEUE),
        ("UNDELIVERABLE", "swf.bridge.", NOTICE_QUEUE),
        ("CANCEL_EXCHANGE", "swf.replies.notices", f"clashes with SWF_BRIDGE_REPLY_QUEUE {WITH}"),
        ("UNDELIVERABLE", "swf.replies.notices", f"clashes with SWF_BRIDGE_REPLY_QUEUE {WITH}"),
        ("HTTP", "9464", ADDRESS),
        ("HTTP", "localhost:65536", ADDRESS),
        ("HTTP", "::1:9464", ADDRESS),
        ("HTTP", "[localhost]:9464", "must have an IPv6 address between the brackets"),
        ("HTTP_NAMES", "bridge.example.net:9464", "must be a host's name, as bridge.example.net"),
        ("HTTP_NAMES", "a,*.b", "name 2 of 2 must be a host's name, as bridge.example.net"),
        ("SWF_CLIENT", "aws", "must be one of auto curl boto3"),
        ("LOG_LEVEL", "loud", "must be one of DEBUG INFO WARNING ERROR CRITICAL"),
        ("LOG_FORMAT", "xml", "must be one of auto journald text json"),
        ("DECLARE", "maybe", "must be true or false"),
        ("SENTRY_DSN", "https://example.net/42", DSN),
        ("SENTRY_DSN", "https://k@[x/1", DSN),
        ("SENTRY_ENVIRONMENT", "x" * 65, "is too long"),
        ("JOURNAL", "/", "is a directory, where a file is needed"),
        ("JOURNAL", "/no/such/journal.db", "lies in a directory that does not exist"),
        ("JOURNAL", "/" + "x" * 5000 + "/j", "lies in a directory that does not exist"),
        ("CONTROL", "/no/such/control.sock", "lies in a directory that does not exist"),
        ("CONTROL", "/tmp/" + "é" * 52, "is over 107 bytes, too long for a Unix socket"),
        ("AMQP_URL", "\udcff", "is not valid UTF-8"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_work_is_told_in_a_plain_sentence(name, value, problem):
    assert f"SWF_BRIDGE_{name}: {problem}" in problems(**{name: value})


def test_http_is_an_address_or_off():
    assert load(HTTP="[::1]:80").http == HttpAddress("::1", 80)
    assert load(HTTP="[::1]:80").shown()["http"] == "[::1]:80"
    assert load(HTTP="0.0.0.0:9464").http == ("0.0.0.0", 9464)
    assert load(HTTP="Off").http is None
    assert load(HTTP="off").shown()["http"] == "off"


def test_http_names_are_host_names_separated_by_commas():
    assert load(HTTP_NAMES="Bridge.example.net., b").http_names == ("bridge.example.net", "b")
    assert load(HTTP_NAMES="a,b").shown()["http_names"] == "a,b"
    assert load().http_names == ()


def test_a_log_level_may_be_written_in_any_case():
    assert load(LOG_LEVEL="debug").log_level == "DEBUG"


def test_keepalive_is_off_or_seconds():
    assert load(KEEPALIVE="OFF").keepalive == load(KEEPALIVE="0").keepalive == 0
    assert load(KEEPALIVE="2.5").keepalive == 2.5


def test_the_brokers_own_exchange_may_be_used_where_nothing_is_declared():
    assert load(EXCHANGE="amq.topic", DECLARE="false").exchange == "amq.topic"


def test_no_form_of_the_settings_shows_a_secret():
    settings = load(AMQP_URL="amqps://u:hunter2@h/v", SENTRY_DSN="https://k3y:s3cret@h:9/p/42")
    for text in (
        repr(settings),
        str(settings),
        json.dumps(settings.shown()),
        settings.model_dump_json(),
    ):
        assert not any(secret in text for secret in ("hunter2", "k3y", "s3cret"))
    assert settings.shown()["sentry_dsn"] == "https://***@h:9/p/42"


def test_what_is_shown_of_a_text_is_the_whole_of_it():
    assert load(IDENTITY="bridge-1.0").shown()["identity"] == "bridge-1.0"
    assert load(DRAIN_TIMEOUT="10.0").shown()["drain_timeout"] == "10"
    assert load(DRAIN_TIMEOUT="10.5").shown()["drain_timeout"] == "10.5"


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load().pollers = 3


@pytest.mark.parametrize("wrong", ["7", "0", "65537", "64MiB", "1.5"])
def test_the_memory_for_replies_is_a_number_of_mib_within_bounds(wrong):
    (problem,) = problems(REPLY_MEMORY=wrong)
    assert problem.startswith("SWF_BRIDGE_REPLY_MEMORY: ")
    for right in ("8", "65536"):
        assert load(REPLY_MEMORY=right).reply_memory == int(right)

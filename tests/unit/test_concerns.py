"""What `check` notes of settings that work: what is in the clear over a network, or open to it."""

import pytest

from bridge.settings.concerns import concerns, is_loopback
from tests.unit.settings_given import load


def noted(environ=None, **given):
    return list(concerns(load(**given), environ or {}))


def test_nothing_is_noted_of_the_defaults():
    assert noted({"AWS_ENDPOINT_URL_SWF": "http://127.0.0.1:9090"}) == []


def test_a_broker_beyond_this_machine_wants_tls():
    noted_ = noted(AMQP_URL="amqp://u:hunter2@rabbit.example/v,amqp://u:hunter2@10.0.0.1/v")
    assert [line.partition(" in the clear")[0] for line in noted_] == [
        "SWF_BRIDGE_AMQP_URL: the password and every task go to rabbit.example",
        "SWF_BRIDGE_AMQP_URL: the password and every task go to 10.0.0.1",
    ]
    assert noted(AMQP_URL="amqps://u:p@rabbit.example/v") == []
    assert noted(AMQP_URL="amqps://u:p@rabbit.example/v,amqp://u:p@localhost/v") == []


def test_a_list_that_mixes_tls_with_none_gives_the_password_to_who_disturbs_tls():
    noted_ = noted(AMQP_URL="amqps://u:hunter2@a/v,amqp://u:hunter2@b/v")
    assert "mixes amqps:// with amqp://" in noted_[1]
    assert "hunter2" not in "".join(noted_)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_SWF", "AWS_ENDPOINT_URL"])
def test_an_endpoint_of_swf_beyond_this_machine_wants_tls(name):
    (line,) = noted({name: "HTTP://swf.example:8080/x"})
    assert line.startswith(f"{name}: tokens, inputs and results go to swf.example in the clear")
    assert noted({name: "https://swf.example"}) == []
    assert noted({name: "http://["}) == []


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "[::]:80", "10.0.0.1:80", "bridge:80"])
def test_a_page_that_others_can_reach_is_noted(address):
    (line,) = noted(HTTP=address)
    assert line.startswith(f"SWF_BRIDGE_HTTP: the page has no login; whoever reaches {address}")


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_only_what_is_this_machine_for_certain_is_loopback(host, is_it):
    assert is_loopback(host) is is_it

import json
from pathlib import Path

from bridge.settings.environment import variable
from bridge.settings.settings import Settings
from tests.integration.cli_process import LISTS, swf_bridge


def test_config_shows_every_setting_its_value_and_where_it_comes_from(tmp_path):
    (tmp_path / "swf_bridge_amqp_url").write_text("amqps://bridge:hunter2@rabbit/swf\n")
    ended = swf_bridge(
        "config", **LISTS, SWF_BRIDGE_POLLERS="9", SENTRY_DSN="https://k3y@sentry/42",
        CREDENTIALS_DIRECTORY=str(tmp_path),
    )  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    rows = {line.split()[0]: line.split(maxsplit=1)[1:] for line in ended.out.splitlines()}
    assert list(rows) == [variable(name) for name in Settings.model_fields]
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "SWF_BRIDGE_POLLERS environment 9" in lines
    assert "SWF_BRIDGE_HTTP default 127.0.0.1:9464" in lines
    assert "SWF_BRIDGE_SENTRY_DSN environment: SENTRY_DSN https://***@sentry/42" in lines
    url = "SWF_BRIDGE_AMQP_URL credential: swf_bridge_amqp_url amqps://bridge:***@rabbit/swf"
    assert url in lines
    assert "hunter2" not in ended.out
    assert "k3y" not in ended.out


def test_config_in_json_has_an_object_for_each_variable():
    table = json.loads(swf_bridge("config", "--json", **LISTS).out)
    assert table["SWF_BRIDGE_DOMAIN"] == {"value": "demo", "source": "environment"}
    assert set(table) == {variable(name) for name in Settings.model_fields}


def test_what_config_shows_may_be_set_again():
    table = json.loads(swf_bridge("config", "--json", **LISTS, SWF_BRIDGE_KEEPALIVE="20").out)
    again = {name: row["value"] for name, row in table.items()}
    repeated = json.loads(swf_bridge("config", "--json", **again).out)
    assert {name: row["value"] for name, row in repeated.items()} == again


def test_the_example_is_what_stands_in_the_repository():
    ended = swf_bridge("config", "--example")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (Path(__file__).parents[2] / "config/bridge.env.example").read_text()


def test_config_and_topology_need_no_task_lists_but_take_no_wrong_ones():
    shown = swf_bridge("config", SWF_BRIDGE_POLLERS="9")
    assert (shown.code, shown.err) == (0, "")
    assert "SWF_BRIDGE_TASK_LISTS default" in [" ".join(x.split()) for x in shown.out.splitlines()]
    told = json.loads(swf_bridge("topology", SWF_BRIDGE_REPLY_QUEUE="ours").out)
    assert "ours" in [queue["name"] for queue in told["queues"]]
    for command in ("config", "topology"):
        ended = swf_bridge(command, SWF_BRIDGE_TASK_LISTS="[]")
        assert (ended.code, ended.err) == (78, "SWF_BRIDGE_TASK_LISTS: names no task list\n")


def test_what_polls_needs_task_lists():
    for command in ("run", "check"):
        assert swf_bridge(command).err == "SWF_BRIDGE_TASK_LISTS: is not set\n"

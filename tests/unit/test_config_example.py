import re
from pathlib import Path

from bridge.settings.environment import PREFIX, variable
from bridge.settings.settings import Settings
from tests.environment import settings_of

EXAMPLE = Path(__file__).parents[2] / "config" / "bridge.env.example"
REQUIRED = {"SWF_BRIDGE_DOMAIN", "SWF_BRIDGE_TASK_LISTS"}  # shown with an example: no default
BY_MACHINE = {"identity", "journal", "control"}  # shown empty: the default depends on the machine

ASSIGNMENTS = re.findall(r"^# ([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
SHOWN = dict(ASSIGNMENTS)


def test_every_setting_stands_in_the_example_once():
    names = [name for name, _ in ASSIGNMENTS if name.startswith(PREFIX)]
    assert sorted(names) == sorted(variable(name) for name in Settings.model_fields)


def test_everything_in_the_example_is_commented_out():
    lines = EXAMPLE.read_text().splitlines()
    assert all(line.startswith("#") or not line for line in lines)


def test_the_example_shows_the_true_defaults():
    settings = settings_of({name: SHOWN[name] for name in REQUIRED})
    defaults = settings.shown() | dict.fromkeys(BY_MACHINE, "")
    defaults["amqp_url"] = settings.amqp_url.get_secret_value()
    shown = {name: value for name, value in SHOWN.items() if name not in REQUIRED}
    assert {name: value for name, value in shown.items() if name.startswith(PREFIX)} == {
        variable(name): value for name, value in defaults.items() if variable(name) in shown
    }


def test_the_example_loads_when_everything_in_it_is_set():
    everything = settings_of(SHOWN)
    assert everything.shown() == settings_of({name: SHOWN[name] for name in REQUIRED}).shown()


def test_every_setting_is_explained_in_the_lines_above_it():
    blocks = EXAMPLE.read_text().split("\n\n")
    of_settings = [block for block in blocks if re.search(r"^# [A-Z]", block, re.MULTILINE)]
    assert all(block.startswith("## ") for block in of_settings)


def test_no_line_is_too_long_for_a_terminal_of_a_hundred_columns():
    assert max(map(len, EXAMPLE.read_text().splitlines())) <= 100

"""The plugins that a private RabbitMQ node is given."""

from pathlib import Path

import pytest

from bridge.local.plugins import link_plugins

INSTALLED = {
    "rabbit": "kernel,stdlib,ra,rabbitmq_prelaunch",
    "rabbitmq_prelaunch": "rabbit_common",
    "rabbit_common": "kernel",
    "ra": "",
    "cuttlefish": "",
    "rabbitmq_management": "rabbit,\n  cowboy, rabbitmq_management_agent",
    "rabbitmq_management_agent": "rabbit",
    "rabbitmq_shovel": "rabbit,rabbitmq_federation",
    "rabbitmq_federation": "rabbit",
}
LIBRARIES = {"rabbit", "rabbit_common", "ra", "cuttlefish"}
PLUGINS = {"rabbitmq_prelaunch", "rabbitmq_management", "rabbitmq_management_agent"}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    folder = tmp_path / "installed"
    for name, needs in INSTALLED.items():
        ebin = folder / f"{name}-3.10.8" / "ebin"
        ebin.mkdir(parents=True)
        told = f"{{application, {name}, [{{modules, [a,b]}},\n {{applications, [{needs}]}}]}}."
        (ebin / f"{name}.app").write_text(told)
    (folder / "README").touch()
    return folder


def linked(installed: Path, *running: str) -> set[str]:
    folder = installed.parent / "server" / "plugins"
    link_plugins(installed, folder, running)
    assert all(path.resolve().parent == installed for path in folder.iterdir())
    return {path.name.partition("-")[0] for path in folder.iterdir()} - {"README"}


def test_libraries_are_linked_and_plugins_that_run_with_those_that_they_need(
    installed: Path,
) -> None:
    assert linked(installed, "rabbitmq_management") == LIBRARIES | PLUGINS


def test_one_that_does_not_run_is_left_out(installed: Path) -> None:
    assert linked(installed) == LIBRARIES | {"rabbitmq_prelaunch"}


def test_one_that_is_not_installed_is_for_rabbitmq_to_tell(installed: Path) -> None:
    assert linked(installed, "rabbitmq_nowhere") == LIBRARIES | {"rabbitmq_prelaunch"}


def test_all_are_linked_where_one_that_runs_does_not_tell_what_it_needs(installed: Path) -> None:
    (installed / "rabbitmq_of_another-1.0.ez").touch()
    assert linked(installed, "rabbitmq_of_another") == {*INSTALLED, "rabbitmq_of_another"}

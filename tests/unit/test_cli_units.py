import sys
from pathlib import Path

import pytest

from bridge.__main__ import main

UNITS = Path(__file__).parents[2] / "systemd"


@pytest.fixture
def installed(monkeypatch):
    """Where the program is said to be installed."""

    def installed(prefix, base="/usr"):
        monkeypatch.setattr(sys, "prefix", prefix)
        monkeypatch.setattr(sys, "base_prefix", base)

    return installed


def test_the_units_run_this_installation_and_are_otherwise_those_of_the_repository(
    installed, tmp_path, capsys
):
    installed("/srv/bridge")
    assert main(["units", str(tmp_path)]) == 0
    names = [path.name for path in UNITS.glob("*.service")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for name in names:
        text = (tmp_path / name).read_text()
        assert "ExecStart=/srv/bridge/bin/swf-bridge run" in text
        assert text == (UNITS / name).read_text().replace("/opt/swf-bridge/", "/srv/bridge/")
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / name)
        for name in ("swf-bridge.service", "swf-bridge-peer@.service", "swf-bridge@.service")
    ]


@pytest.mark.parametrize(
    ("prefix", "base"),
    [("/home/me/tools/swf-bridge", "/usr"), ("/srv/x", "/root/.pyenv"), ("/srv/a b", "/usr")],
)
def test_what_the_service_could_not_start_is_not_written(installed, tmp_path, capsys, prefix, base):
    installed(prefix, base)
    assert main(["units", str(tmp_path)]) == 70
    assert not list(tmp_path.iterdir())
    assert "elsewhere" in (told := capsys.readouterr().err) or "outside of /home" in told


def test_a_folder_that_is_not_there_is_told(installed, tmp_path, capsys):
    installed("/srv/bridge")
    assert main(["units", str(tmp_path / "none")]) == 70
    assert "No such file or directory" in capsys.readouterr().err

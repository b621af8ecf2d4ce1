"""The files that the Debian package is made by; `make packages` builds and tries the package."""

import re
import subprocess

import pytest

from tests.packages.source import ROOT

DEBIAN = ROOT / "debian"


def test_every_overridden_tag_of_lintian_has_its_reason_beside_it():
    lines = (DEBIAN / "swf-bridge.lintian-overrides").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert all(line.startswith(("# ", "swf-bridge: ")) for line in lines)


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_the_scripts_of_the_package_are_sound_and_let_debhelper_add_its_own(name):
    script = DEBIAN / name
    subprocess.run(["sh", "-n", script], check=True)
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "\nset -e\n" in text
    assert "\n#DEBHELPER#\n" in text


def test_only_a_purge_takes_journals_and_only_a_removal_stops_a_daemon():
    removes = (DEBIAN / "postrm").read_text().partition('if [ "$1" = purge ]; then')
    assert "/var/lib" not in removes[0]
    assert "/var/lib/private/swf-bridge" in removes[2]
    stops = [path.name for path in DEBIAN.iterdir() if "systemctl stop" in _text(path)]
    assert stops == ["prerm"]
    assert '[ "$1" = remove ]' in _text(DEBIAN / "prerm")
    assert "systemctl restart" not in re.sub(r'echo ".*"', "", _text(DEBIAN / "postinst"))


def _text(path):
    return path.read_text() if path.is_file() else ""

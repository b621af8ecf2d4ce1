"""The notifier beside systemd's own tool."""

import os
import shutil
import subprocess

import pytest

from bridge.telemetry.systemd import Notifier
from tests.unit.test_systemd import manager

__all__ = ["manager"]


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="needs systemd-notify")
def test_it_says_ready_as_systemds_own_tool_does(manager):
    sock, address = manager
    environ = {**os.environ, "NOTIFY_SOCKET": address}
    subprocess.run(["systemd-notify", "--no-block", "READY=1"], env=environ, timeout=10, check=True)
    theirs = sock.recv(4096)
    Notifier(address).ready()
    assert sock.recv(4096) == theirs.strip()

"""`make install` into a folder, as a package's build does."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

SETTINGS = "etc/swf-bridge/eu-west-1.env"
JOURNAL = "var/lib/private/swf-bridge/journal.db"
LEFT_BEHIND = "opt/swf-bridge/lib/python3.11/site-packages/left_behind.py"


def older_version(folder: Path) -> None:
    """What an older version and its operator have left on the server."""
    files = {
        "opt/swf-bridge/bin/swf-bridge": 0o755,
        "opt/swf-bridge/pyvenv.cfg": 0o644,
        "usr/local/lib/systemd/system/swf-bridge.service": 0o644,
        LEFT_BEHIND: 0o644,
        SETTINGS: 0o640,
        JOURNAL: 0o640,
    }
    for name, mode in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("ours")
        path.chmod(mode)


def make(target: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """`make TARGET DESTDIR=folder`, by the system's Python."""
    given = {"DESTDIR": str(folder), **more}
    return subprocess.run(
        ["make", target, *(f"{name}={value}" for name, value in given.items())],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHON"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def stage(folder: Path) -> None:
    """Everything that a server needs, below the folder."""
    done = make("install", folder)
    assert done.returncode == 0, done.stdout + done.stderr

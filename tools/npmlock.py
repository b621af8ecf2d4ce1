"""Renew the lock of each package.json here: newest versions, hashes, and no address.

`python tools/npmlock.py`. npm writes the registry's host and the authors' funding pages into a
lock; the first is left out by an option, the second are taken out here.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("tools/node", "examples/node")
COMMAND = (
    "npm",
    "install",
    "--package-lock-only",
    "--omit-lockfile-registry-resolved",
    "--no-audit",
)


def main() -> int:
    """Lock each folder; the exit code is npm's where that fails."""
    for folder in FOLDERS:
        lock = ROOT / folder / "package-lock.json"
        lock.unlink(missing_ok=True)
        if code := subprocess.run(COMMAND, cwd=lock.parent, check=False).returncode:
            return code
        locked = json.loads(lock.read_text())
        for package in locked["packages"].values():
            package.pop("funding", None)
        lock.write_text(json.dumps(locked, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

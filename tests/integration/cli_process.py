"""The real program as its own process, in an environment of nothing but what is given."""

import subprocess
import sys
from dataclasses import dataclass

LISTS = {
    "SWF_BRIDGE_DOMAIN": "demo",
    "SWF_BRIDGE_TASK_LISTS": "images",
    "AWS_REGION": "eu-west-1",
}


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def swf_bridge(*args, timeout=20, **environ):
    """Run a command to its end."""
    ended = subprocess.run(
        [sys.executable, "-m", "bridge", *args],
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)

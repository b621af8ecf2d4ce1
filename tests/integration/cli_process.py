"""The real program as its own process, in an environment of nothing but what is given."""

from dataclasses import dataclass
from pathlib import Path

from tests import forked

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
    env = {"PATH": "/usr/bin:/bin", **environ}
    ended = forked.run(["-m", "bridge", *args], env=env, timeout=timeout, cwd=Path.cwd())
    return Ended(ended.returncode, ended.stdout, ended.stderr)

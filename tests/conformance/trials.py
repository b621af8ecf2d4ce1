"""`swf-bridge conformance` from outside."""

import os
from typing import NamedTuple

from tests.forked import ROOT, SHELL, run

__all__ = ["ROOT", "Tried", "conformance"]


class Tried(NamedTuple):
    """What it printed, and its exit code."""

    code: int
    out: str
    err: str


def conformance(*options: str) -> Tried:
    home = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    done = run(("-m", "bridge", "conformance", *options), env=SHELL | home, timeout=300)
    return Tried(done.returncode, done.stdout, done.stderr)

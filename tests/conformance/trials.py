"""`swf-bridge conformance` from outside."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Tried(NamedTuple):
    """What it printed, and its exit code."""

    code: int
    out: str
    err: str


def conformance(*options: str) -> Tried:
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "conformance", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return Tried(done.returncode, done.stdout, done.stderr)

"""A plain Debian, as it is before anything of ours is installed."""

import shutil
from pathlib import Path

import pytest

from tests.packages import source


def make(target: Path, *include: str) -> None:
    """One of the release that this machine has, from where its apt has its packages.

    `target` is a folder, or a tar archive where its name ends so.
    """
    if shutil.which("mmdebstrap") is None:
        pytest.skip("no mmdebstrap")
    listed = source.run(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages",
        cwd=target.parent,
    ).splitlines()  # fmt: skip
    uri, suite = next(each for each in listed if "/debian/ " in f"{each} ").split()
    command = ("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root")
    wanted = f"--include={','.join(include)}"
    source.run(*command, wanted, suite, target, f"deb {uri} {suite} main", cwd=target.parent)

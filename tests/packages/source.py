"""The source as others get it: a repository, an archive of it, and what is built of them."""

import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[2]
EPOCH = 1_700_000_000


def run(*argv: str | Path, cwd: Path, **environ: str) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
    return done.stdout


def copy(folder: Path) -> Path:
    """The files that git knows here, as they stand, and nothing else of this folder."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def repository(folder: Path, tag: str | None = None) -> Path:
    """A repository of one commit."""
    copy(folder)
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.net")
    run("git", "init", "-q", ".", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    run("git", *who, "commit", "-q", "-m", "Everything", cwd=folder)
    if tag:
        run("git", "tag", tag, cwd=folder)
    return folder


def commit(folder: Path) -> str:
    """The repository's commit, as short as the version has it."""
    return run("git", "rev-parse", "--short=9", "HEAD", cwd=folder).strip()


def archive(repository: Path, folder: Path) -> Path:
    """What a tarball of the repository holds, unpacked."""
    folder.mkdir()
    packed = folder.with_suffix(".tar")
    run("git", "archive", "-o", packed, "HEAD", cwd=repository)
    run("tar", "xf", packed, cwd=folder)
    return folder


def build(source: Path, kind: str, folder: Path) -> Path:
    """Build `wheel` or `sdist` of a source with what is locked, into a folder.

    The backend is called as pip and build call it, without another process to ask what it needs.
    """
    folder.mkdir(exist_ok=True)
    call = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
    run(sys.executable, "-c", call, cwd=source, SOURCE_DATE_EPOCH=str(EPOCH))
    (found,) = folder.iterdir()
    return found


def version_and_revision(wheel: Path) -> tuple[str, str | None]:
    """As the metadata and the program in it tell them; both must tell the same version."""
    with zipfile.ZipFile(wheel) as files:
        (name,) = [n for n in files.namelist() if n.endswith(".dist-info/METADATA")]
        told = Parser().parsestr(files.read(name).decode())["Version"]
        names: dict[str, str | None] = {}
        exec(files.read("bridge/_version.py"), names)
    assert names["__version__"] == told
    return told, names["__commit_id__"]

"""`make dist`: two of one commit are equal, and the bill of materials has what is locked."""

import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.packages import source
from tests.packages.conftest import VERSION

pytestmark = pytest.mark.timeout(600)

SOURCE = f"swf_bridge-{VERSION}.tar.gz"


def make_dist(tree: Path, out: Path) -> Path:
    """Run the tool in a checkout, with what is installed for this one."""
    (tree / ".venv").symlink_to(source.ROOT / ".venv")
    source.run("tools/dist", cwd=tree, OUT=str(out), SOURCE_DATE_EPOCH=str(source.EPOCH))
    return out


@pytest.fixture(scope="module")
def dist(tagged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("first") / "tree"
    shutil.copytree(tagged, tree, symlinks=True)
    return make_dist(tree, tree.parent / "dist")


def locked() -> dict[str, str]:
    """Names and versions of `requirements.lock` that are for a machine with Linux."""
    lines = (source.ROOT / "requirements.lock").read_text().splitlines()
    found = (re.match(r"([a-z0-9._-]+)==([^ ;]+)", line) for line in lines)
    return {each[1]: each[2] for each in found if each}


def normal(name: str) -> str:
    """A name as locks have it."""
    return name.lower().replace("_", "-")


def test_wheel_source_archive_bill_and_licences_are_made(dist: Path) -> None:
    assert {path.name for path in dist.iterdir()} == {
        "licences.txt", "swf-bridge.cdx.json", f"swf_bridge-{VERSION}-py3-none-any.whl", SOURCE,
    }  # fmt: skip


@pytest.mark.long
def test_two_of_one_commit_are_equal_bit_by_bit(dist: Path, again: Path, tmp_path: Path) -> None:
    """The short form is that of the wheel alone, in test_wheel.py."""
    for path in again.rglob("*.md"):
        path.touch()
        path.chmod(0o600)
    twin = make_dist(again, tmp_path / "dist")
    names = sorted(path.name for path in dist.iterdir())
    assert names == sorted(path.name for path in twin.iterdir())
    for name in names:
        assert (dist / name).read_bytes() == (twin / name).read_bytes(), name


def test_the_source_archive_tells_no_user_and_no_time_of_this_machine(dist: Path) -> None:
    with tarfile.open(dist / SOURCE) as archive:
        members = archive.getmembers()
    assert {member.mtime for member in members} == {source.EPOCH}
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}
    assert {member.name.split("/")[0] for member in members} == {f"swf_bridge-{VERSION}"}


def test_the_bill_of_materials_has_all_that_is_locked_and_nothing_else(dist: Path) -> None:
    bill = json.loads((dist / "swf-bridge.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    parts = {normal(each["name"]): each for each in bill["components"]}
    versions = {name: each["version"] for name, each in parts.items()}
    assert versions == {**locked(), "swf-bridge": VERSION}
    assert parts["pika"]["purl"] == f"pkg:pypi/pika@{versions['pika']}"


def test_the_licence_of_every_dependency_is_told(dist: Path) -> None:
    lines = (dist / "licences.txt").read_text().splitlines()
    told = dict(re.fullmatch(r"(\S+) \S+: (.+)", line).groups() for line in lines)
    assert sorted(normal(name) for name in told) == sorted(locked())
    assert told["boto3"] == "Apache-2.0"
    assert "BSD" in told["pika"]

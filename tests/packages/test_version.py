"""One version, from git's tag, wherever the source comes from."""

from pathlib import Path

from tests.packages import source


def wheel_of(folder: Path, tmp_path: Path) -> tuple[str, str | None]:
    return source.version_and_revision(source.build(folder, "wheel", tmp_path / "wheel"))


def test_a_tagged_commit_has_the_version_of_its_tag(tmp_path: Path) -> None:
    tree = source.repository(tmp_path / "tree", tag="v1.2.3")
    assert wheel_of(tree, tmp_path) == ("1.2.3", f"g{source.commit(tree)}")


def test_a_clone_without_tags_has_a_version_with_the_revision_in_it(tmp_path: Path) -> None:
    tree = source.repository(tmp_path / "tree")
    revision = source.commit(tree)
    assert wheel_of(tree, tmp_path) == (f"0.1.dev1+g{revision}", f"g{revision}")


def test_a_tarball_of_a_tag_has_its_version_and_needs_no_git(tmp_path: Path) -> None:
    tree = source.repository(tmp_path / "tree", tag="v1.2.3")
    unpacked = source.archive(tree, tmp_path / "unpacked")
    assert wheel_of(unpacked, tmp_path) == ("1.2.3", None)


def test_the_sdist_brings_version_and_revision_along(tmp_path: Path) -> None:
    tree = source.repository(tmp_path / "tree", tag="v1.2.3")
    packed = source.build(tree, "sdist", tmp_path / "sdist")
    source.run("tar", "xf", packed, cwd=tmp_path)
    told = wheel_of(tmp_path / "swf_bridge-1.2.3", tmp_path)
    assert told == ("1.2.3", f"g{source.commit(tree)}")


def test_a_copy_without_all_of_that_can_be_built_and_does_not_say_a_version(tmp_path: Path) -> None:
    told = wheel_of(source.copy(tmp_path / "tree"), tmp_path)
    assert told == ("0.0", None)

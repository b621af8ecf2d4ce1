"""The shape of the package: who may import whom, and which library has which home."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "bridge"
LINES = 350
MOST = 9
"""Modules in one folder: what has more is two rooms."""

ROWS = [
    set(row.split())
    for row in (
        "errors task bounds threads",
        "message telemetry settings swf",
        "rabbitmq journal",
        "flow control preflight",
        "status",
        "wiring",
        "daemon",
        "cli __main__",
    )
]
"""A room imports only from rows above its own; those of one row do not know each other."""

ALONE = {"local": {"bounds"}, "conformance": {"bounds", "local"}}
"""What the daemon never imports, and what each may: only the commands in `cli/local` import it."""

HOMES = {
    "boto3": {"swf"},
    "botocore": {"swf"},
    "pycurl": {"swf"},
    "pika": {"rabbitmq", "conformance"},
    "sqlite3": {"journal"},
    "sentry_sdk": {"telemetry"},
    "prometheus_client": {"status"},
    "pydantic_settings": {"settings"},
}

GENERATED = PACKAGE / "_version.py"
FILES = sorted(set(PACKAGE.rglob("*.py")) - {GENERATED})
OURS = [file for file in FILES if file != PACKAGE / "__init__.py"]


def part_of(file: Path) -> str:
    """The room that a file belongs to: a package in `bridge`, or a module beside these."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


@cache
def imports(file: Path) -> list[str]:
    """Every module that a file names in an import, wherever in it that stands."""
    return list(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported(file: Path) -> set[str]:
    names = {tuple(name.split("."))[1] for name in imports(file) if name.startswith("bridge.")}
    return {name for name in names if not name.startswith("__")}


def row_of(part: str) -> int:
    return next(number for number, row in enumerate(ROWS) if part in row)


def test_every_room_has_one_row_but_those_that_stand_alone():
    named = sorted(part for row in ROWS for part in row)
    assert named == sorted({part_of(file) for file in OURS} - set(ALONE))


@pytest.mark.parametrize("file", OURS, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_only_from_the_rows_above_its_own(file):
    part = part_of(file)
    others = parts_imported(file) - {part}
    if part in ALONE:
        assert others <= ALONE[part]
    elif part == "cli":
        above = set().union(*ROWS[: row_of(part)])
        alone = set(ALONE) if file.is_relative_to(PACKAGE / "cli/local") else set()
        assert others <= above | alone
    elif part == "__main__":
        assert others <= set().union(*ROWS)
    else:
        assert others <= set().union(*ROWS[: row_of(part)])


def test_no_folders_import_each_other_whether_directly_or_through_others():
    below: dict[Path, set[Path]] = {}
    for file in OURS:
        named = {PACKAGE.parent / name.replace(".", "/") for name in imports(file)}
        files = {each.with_suffix(".py") for name in named for each in (name, name.parent)}
        folders = {each.parent for each in files.intersection(FILES)}
        below.setdefault(file.parent, set()).update(folders - {file.parent, PACKAGE})
    TopologicalSorter(below).prepare()  # raises CycleError


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_one_home(library):
    homes = {
        part_of(file) for file in OURS for name in imports(file) if name.split(".")[0] == library
    }
    assert homes == HOMES[library]


@pytest.mark.parametrize(
    "folder", sorted({file.parent for file in FILES}), ids=lambda each: each.name
)
def test_a_room_can_be_overlooked(folder):
    modules = {file for file in FILES if file.parent == folder and file.name != "__init__.py"}
    assert len(modules) <= MOST


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_can_be_read_at_one_sitting(file):
    assert len(file.read_text().splitlines()) <= LINES

"""Where every test is required, none may quietly stay away: tried with pytest-xdist, as in CI."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.required import ALLOWED, VARIABLE

ROOT = Path(__file__).parents[2]
HOOKS = """\
from tests.required import *
from tests.required import leave_out_long as pytest_collection_modifyitems
"""
MARK = """\
import pytest
@pytest.mark.skipif(True, reason="no mark")
def test_it(): pass
"""
FIXTURE = """\
import pytest
@pytest.fixture(scope="session")
def box(): pytest.skip("no fixture")
def test_it(box): pass
"""
MODULE = 'import pytest\npytest.importorskip("not_there", reason="no module")\n'
BODY = "import pytest\ndef test_it(): pytest.skip({reason!r})\n"


LONG = """\
import pytest
@pytest.mark.long
def test_long(): pass
def test_short(): pass
"""


def run(folder: Path, modules: Mapping[str, str], *more: str, required: bool) -> tuple[int, str]:
    """pytest over some modules, in two processes, with the hooks of the project's own tests."""
    for name, text in modules.items():
        (folder / f"test_{name}.py").write_text(text)
    (folder / "conftest.py").write_text(HOOKS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
    options = ["-p", "no:cacheprovider", "-q", "-ra", "--numprocesses", "2", *more]
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", folder, folder],
        cwd=folder,
        env={**given, VARIABLE: "1"} if required else given,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return ended.returncode, ended.stdout


def test_a_test_that_cannot_run_fails_where_every_test_is_required(tmp_path: Path) -> None:
    body = BODY.format(reason="no body")
    modules = {"mark": MARK, "fixture": FIXTURE, "module": MODULE, "body": body}
    code, said = run(tmp_path, modules, required=True)
    assert code != 0
    for each in modules:
        assert f"this test does not run: no {each}" in said
    assert not re.search(r"\d (skipped|passed)", said)
    _, said = run(tmp_path, modules, required=False)
    assert re.search(r"^4 skipped", said, re.MULTILINE)


def test_allowed_reasons_skip_even_so(tmp_path: Path) -> None:
    modules = {str(at): BODY.format(reason=reason) for at, reason in enumerate(ALLOWED)}
    code, said = run(tmp_path, modules, required=True)
    assert code == 0
    assert re.search(rf"^{len(ALLOWED)} skipped", said, re.MULTILINE)


def test_what_judges_a_change_requires_every_test() -> None:
    judge = (ROOT / ".ci/run").read_text()
    assert re.search(
        rf"^export {VARIABLE}=1$.*^make test WORKERS=3$", judge, re.MULTILINE | re.DOTALL
    )


def test_each_reason_that_is_allowed_is_given_by_a_test() -> None:
    given = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [reason for reason in ALLOWED if f'"{reason}"' not in given] == []


def test_what_is_long_runs_where_every_test_is_required_or_it_is_asked_for(tmp_path: Path) -> None:
    for more, required, passed in (
        ((), False, 1),
        ((), True, 2),
        (("-m", "long"), False, 1),
        (("-m", "not long"), True, 1),
    ):
        code, said = run(tmp_path, {"both": LONG}, *more, required=required)
        assert code == 0
        assert re.search(rf"^{passed} passed", said, re.MULTILINE), said

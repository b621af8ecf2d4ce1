"""That pytest can import every module of the tests, whichever it meets first."""

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_no_two_modules_of_the_tests_share_a_name() -> None:
    """Folders without an `__init__.py` all stand on `sys.path`: the first of a name is found."""
    names = Counter(
        file.stem
        for file in TESTS.rglob("*.py")
        if not (file.parent / "__init__.py").exists() and file.name != "conftest.py"
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_imports_from_a_conftest_for_there_are_many() -> None:
    texts = {file: file.read_text() for file in TESTS.rglob("*.py") if file != Path(__file__)}
    assert [file.name for file, text in texts.items() if "from conftest import" in text] == []

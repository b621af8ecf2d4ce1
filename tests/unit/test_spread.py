"""The order in which `make test` begins the tests."""

from pathlib import Path

from tests.spread import ROOMS, TOGETHER, rank, unit_of_work

TESTS = Path(__file__).parents[1]


def test_every_folder_of_tests_has_its_place() -> None:
    assert set(ROOMS) == {path.parent.name for path in TESTS.glob("*/test_*.py")}
    assert set(TESTS.rglob("test_*.py")) == set(TESTS.glob("*/test_*.py"))


def test_what_starts_machines_is_begun_before_what_takes_milliseconds() -> None:
    quick, long = "tests/unit/test_rows.py::test_a", "tests/systemd/test_service.py::test_b[1]"
    assert sorted([quick, long], key=rank) == [long, quick]


def test_a_file_stays_in_one_worker_and_so_do_all_that_need_the_same_box() -> None:
    assert unit_of_work("tests/unit/test_a.py::TestB::test_c[d::e]") == "tests/unit/test_a.py"
    assert {unit_of_work(f"{TOGETHER}/test_{name}.py::test_c") for name in "ab"} == {TOGETHER}

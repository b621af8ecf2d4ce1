"""The order in which `make test` begins the tests."""

from pathlib import Path

from tests.spread import BUSY, SHORT, TOGETHER, WAITING, in_order, unit_of_work

TESTS = Path(__file__).parents[1]


def test_every_folder_of_tests_has_its_place() -> None:
    folders = [*BUSY, *WAITING, *SHORT]
    assert sorted(folders) == sorted({path.parent.name for path in TESTS.glob("*/test_*.py")})
    assert set(TESTS.rglob("test_*.py")) == set(TESTS.glob("*/test_*.py"))


def test_what_waits_is_begun_beside_what_is_busy_and_what_is_short_comes_last() -> None:
    units = ["tests/unit/test_rows.py", TOGETHER, "tests/faults/test_faults.py"]
    units += [f"tests/acceptance/test_{name}.py" for name in "abcde"]
    order = in_order(units)
    assert [Path(unit).stem for unit in order] == [
        "systemd", "test_a", "test_b", "test_faults", "test_c", "test_d", "test_e", "test_rows"
    ]  # fmt: skip
    assert sorted(order) == sorted(units)


def test_a_file_stays_in_one_worker_and_so_do_all_that_need_the_same_box() -> None:
    assert unit_of_work("tests/unit/test_a.py::TestB::test_c[d::e]") == "tests/unit/test_a.py"
    assert {unit_of_work(f"{TOGETHER}/test_{name}.py::test_c") for name in "ab"} == {TOGETHER}

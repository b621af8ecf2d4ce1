"""Names that do not fit are cut so that they can still be told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.text import shortened, table

HEAD, TAIL = "production/thumbnails-" + "a" * 40, "b" * 40 + "-of-images"
PAIRS = {
    "at the end": (f"{HEAD}{TAIL}-1", f"{HEAD}{TAIL}-2"),
    "at the beginning": (f"1-{HEAD}{TAIL}", f"2-{HEAD}{TAIL}"),
    "in the middle": (f"{HEAD}-eu-{TAIL}", f"{HEAD}-us-{TAIL}"),
    "just after the beginning that is shown": (
        f"production/thumb-x{TAIL * 2}",
        f"production/thumb-y{TAIL * 2}",
    ),
    "just before the end that is shown": (f"{HEAD * 2}x-of-images", f"{HEAD * 2}y-of-images"),
    "by a word that one has more": (f"{HEAD}-old-{TAIL}", f"{HEAD}-{TAIL}"),
    "in two places": (f"{HEAD}-eu-{HEAD}-1-{TAIL}", f"{HEAD}-us-{HEAD}-2-{TAIL}"),
}


@pytest.mark.parametrize("width", [16, 20, 27, 40])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_two_names_that_differ_look_different_in_the_width_there_is(
    pair: tuple[str, str], width: int
) -> None:
    shown = shortened(pair, width)
    assert len(set(shown.values())) == 2, shown
    assert all(len(each) <= width for each in shown.values()), shown


def test_names_that_differ_in_more_than_one_place_are_all_told_apart() -> None:
    names = [f"{HEAD}-{where}-{TAIL}-{what}-{TAIL}" for where in ("eu", "us") for what in "123"]
    shown = shortened(names, 24)
    assert len(set(shown.values())) == 6, shown
    assert max(map(len, shown.values())) <= 24, shown


def test_a_name_that_fits_is_whole_and_one_that_stands_alone_keeps_beginning_and_end() -> None:
    assert shortened(["demo/images"], 11) == {"demo/images": "demo/images"}
    assert shortened(["demo/" + "x" * 50 + "-1"], 11) == {"demo/" + "x" * 50 + "-1": "demo/…xxx-1"}


def test_where_the_width_is_too_little_to_tell_names_apart_they_are_wider() -> None:
    alike = ["x" * 50, "x" * 51]
    shown = shortened(alike, 10)
    assert len(set(shown.values())) == 2
    assert min(map(len, shown.values())) > 10


@given(st.lists(st.text("ab", min_size=1, max_size=40), unique=True), st.integers(9, 30))
def test_whatever_the_names_no_two_look_alike(names: list[str], width: int) -> None:
    assert len(set(shortened(names, width).values())) == len(names)


def test_a_table_on_a_narrow_terminal_tells_its_rows_apart() -> None:
    rows = [{"name": each, "other": "o" * 30} for each in PAIRS["in the middle"]]
    columns = (("TASK LIST", lambda row: row["name"]), ("OTHER", lambda row: row["other"]))
    lines = table(rows, columns, 60)
    assert len(set(lines)) == 3
    assert max(map(len, lines)) == 60

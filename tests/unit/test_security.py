"""SECURITY.md: each bound that it tells is the one in the code."""

import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "SECURITY.md"
ROW = re.compile(
    r"^\| [^|]+ \| ([0-9,]+)( KiB| MiB)? \| `(bridge[a-z_.]*)\.([A-Z_]+)(\[\w+\])?` \|$"
)
UNITS = {None: 1, " KiB": 2**10, " MiB": 2**20}
ROWS = [found for line in PAGE.read_text().splitlines() if (found := ROW.match(line))]


def test_every_row_of_the_table_is_read():
    table = PAGE.read_text().partition("## What is bounded")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(lines) - 1
    assert len(ROWS) > 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[3]}.{row[4]}{row[5] or ''}")
def test_a_bound_is_as_the_code_has_it(row):
    number, unit, module, name, key = row.groups()
    found = getattr(import_module(module), name)
    if key is not None:
        found = found[key == "[True]"]
    assert found == int(number.replace(",", "")) * UNITS[unit]

"""The pictures of the README: small, told in words, and readable on a light and a dark page."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "docs/pictures").iterdir())
FLOW = (ROOT / "docs/pictures/flow.svg").read_text()
LIGHT, DARK = FLOW.partition("</style>")[0].split("@media (prefers-color-scheme: dark)")
ON = {"text": ("page", "box", "ours"), ".quiet": ("page", "box", "ours"), ".digit": ("number",)}
LINES = (".line", ".frame", ".box", ".ours")


def colours(style: str, what: str) -> dict[str, str]:
    """The colour of each class that has one, to fill or for its line."""
    rules = re.findall(r"([.\w]+) \{([^}]*)\}", style)
    found = {name: re.search(rf"\b{what}: (#[0-9a-f]{{6}})", rule) for name, rule in rules}
    return {name: each[1] for name, each in found.items() if each}


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small_and_stands_in_the_readme_with_words_for_who_does_not_see_it(path):
    assert path.stat().st_size < 100_000
    told = re.findall(
        rf"!\[([^\]]+)\]\(docs/pictures/{path.name}\)", (ROOT / "README.md").read_text()
    )
    assert len(told) == 1
    assert len(told[0].split()) > 8


@pytest.mark.parametrize("style", [LIGHT, DARK], ids=["light", "dark"])
def test_all_of_the_drawing_can_be_read_on_its_own_ground(style):
    fills, lines = colours(style, "fill"), colours(style, "stroke")
    for text, grounds in ON.items():
        for ground in grounds:
            assert contrast(fills[text], fills[f".{ground}"]) >= 4.5, (text, ground)
    for line in LINES:
        assert contrast(lines[line], fills[".page"]) >= 3, line


def test_the_drawing_is_told_in_words_and_asks_for_nothing_from_outside():
    drawing = ElementTree.fromstring(FLOW)
    names = [each.tag.rpartition("}")[2] for each in drawing]
    assert {"title", "desc"} <= set(names)
    assert not re.search(r"<image|<script|@import|url\((?!#)", FLOW)

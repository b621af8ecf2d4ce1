"""docs/workers.md says what is there."""

import shlex

import pytest
from trials import ROOT

from bridge.cli.parser import build
from bridge.conformance.checks import CHECKS

PAGES = ("docs/workers.md", "docs/comparison.md")


def commands(page: str) -> list[str]:
    """The lines of its shell blocks that call us."""
    blocks = (ROOT / page).read_text().split("```sh\n")[1:]
    lines = "\n".join(block.split("```")[0] for block in blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("swf-bridge ")]


@pytest.mark.parametrize("command", [line for page in PAGES for line in commands(page)])
def test_a_command_of_the_docs_is_one(command: str) -> None:
    build().parse_args(shlex.split(command)[1:])


def test_the_docs_name_every_check_and_what_it_expects() -> None:
    text = (ROOT / PAGES[0]).read_text()
    assert [c.name for c in CHECKS if f"| `{c.name}` | {c.expected} |" not in text] == []


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page: str) -> None:
    links = [part.split(")")[0] for part in (ROOT / page).read_text().split("](")[1:]]
    local = [link.split("#")[0] for link in links if "://" not in link]
    assert [link for link in local if not (ROOT / page).parent.joinpath(link).exists()] == []

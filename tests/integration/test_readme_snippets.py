"""What the pages tell their readers to type."""

import json
import subprocess

import pytest

from tests.unit.test_readme import PAGES, blocks


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_shell_snippet_is_shell_and_every_json_snippet_json(page):
    for snippet in blocks(PAGES[page], "sh"):
        checked = subprocess.run(
            ["sh", "-n"], check=False, input=snippet, text=True, capture_output=True
        )
        assert checked.returncode == 0, checked.stderr
    for snippet in blocks(PAGES[page], "json"):
        json.loads(snippet)

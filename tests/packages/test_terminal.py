"""What a person does in a terminal: looks into the manual, presses Tab, asks for help."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.packages import source
from tests.packages.terminal import Terminal
from tests.packages.test_manual import PARTLY, WANTED, needed, share
from tests.unit.test_cli_help import COMMANDS

__all__ = ["share"]  # a fixture
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


@pytest.fixture
def given(share: Path, tmp_path: Path) -> Mapping[str, str]:
    """A person for whom the package is installed, in a home of their own."""
    bin_ = Path(sys.executable).parent
    return {
        "HOME": str(tmp_path),
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "XDG_DATA_DIRS": f"{share}:/usr/share",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "MANPATH": str(share / "man"),
        "PS1": "$ ",
        "PAGER": "cat",
    }


def words(told: str) -> set[str]:
    """What stands there, word by word."""
    return set(told.split())


def test_tab_in_bash_shows_the_commands(given: Mapping[str, str], tmp_path: Path) -> None:
    if not BASH_COMPLETION.exists():
        pytest.skip("no bash-completion")
    rc = tmp_path / "bashrc"
    rc.write_text(f"PS1='$ '\nbind 'set bell-style none'\n. {BASH_COMPLETION}\necho READY\n")
    with Terminal("bash", "--rcfile", str(rc), "-i", env=given, cwd=tmp_path) as terminal:
        terminal.see("READY", "$ ")
        terminal.type(PARTLY + "\t\t")
        assert words(terminal.see(*WANTED)) & set(COMMANDS) == WANTED
        terminal.type("a\t")
        terminal.see("asks ")
        terminal.type("li\t--st\t")
        terminal.see("list --state")


def test_tab_in_zsh_shows_the_commands(
    given: Mapping[str, str], share: Path, tmp_path: Path
) -> None:
    (tmp_path / ".zshrc").write_text(
        f"PS1='$ '\nfpath=({share}/zsh/site-functions $fpath)\n"
        "autoload -Uz compinit; compinit -u -D\necho READY\n"
    )
    with Terminal(needed("zsh"), "-d", "-i", env=given, cwd=tmp_path) as terminal:
        terminal.see("READY", "$ ")
        terminal.type(PARTLY + "\t\t")
        assert words(terminal.see(*WANTED, "--")) & set(COMMANDS) == WANTED


def test_tab_in_fish_shows_the_commands(given: Mapping[str, str], tmp_path: Path) -> None:
    start = "function fish_prompt; echo 'at> '; end; set -g fish_greeting; echo READY"
    with Terminal(needed("fish"), "-i", "-C", start, env=given, cwd=tmp_path) as terminal:
        terminal.see("READY", "at>")
        terminal.type(PARTLY + "\t\t")
        terminal.see(*WANTED, "the tasks in hand")


def test_man_shows_the_page_by_its_name(given: Mapping[str, str], tmp_path: Path) -> None:
    needed("man")
    with Terminal("bash", "--norc", "-i", env=given, cwd=tmp_path) as terminal:
        terminal.type("man swf-bridge; man 5 swf-bridge.env | tail -3; echo ALL''-READ\n")
        told = terminal.see("ALL-READ", seconds=60)
    plain = re.sub(r".\x08", "", told)
    assert "SYNOPSIS" in plain
    assert "No manual entry" not in plain


def test_help_of_a_command_has_its_examples_and_exit_codes(
    given: Mapping[str, str], tmp_path: Path
) -> None:
    with Terminal("bash", "--norc", "-i", env=given, cwd=tmp_path) as terminal:
        terminal.type("swf-bridge tasks --help; echo ALL''-READ\n")
        told = terminal.see("ALL-READ", seconds=60)
    assert "examples:" in told
    assert "exit codes:" in told
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize("page", ["man1/swf-bridge.1", "man5/swf-bridge.env.5"])
def test_mandoc_finds_no_fault_in_the_pages(share: Path, page: str) -> None:
    lint = (needed("mandoc"), "-T", "lint", "-W", "warning", share / "man" / page)
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert source.run("mandoc", "-T", "utf8", share / "man" / page, cwd=share)

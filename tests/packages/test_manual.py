"""The manual and completion, as man and the shells themselves take them."""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.settings.environment import variable
from bridge.settings.settings import Settings
from tests.packages import source
from tests.unit.test_cli_help import COMMANDS

PARTLY = "swf-bridge t"
WANTED = {name for name in COMMANDS if name.startswith("t") and " " not in name}


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a package puts into /usr/share."""
    folder = tmp_path_factory.mktemp("share")
    source.run(sys.executable, "tools/manual.py", folder, cwd=source.ROOT)
    return folder


def needed(program: str) -> str:
    if (found := shutil.which(program)) is None:
        pytest.skip(f"no {program}")
    return found


def page(share: Path, name: str) -> str:
    """A page as it stands on a wide terminal; a warning of groff's is an error."""
    done = subprocess.run(
        [needed("man"), "--warnings", "--local-file", share / "man" / name],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "1000"},
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stderr == ""
    return re.sub(r".\x08", "", done.stdout)


def test_the_manual_has_every_command_with_its_options_and_exit_codes(share: Path) -> None:
    told = page(share, "man1/swf-bridge.1")
    assert {"SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"} <= set(told.splitlines())
    parts = re.split(r"^COMMAND '(.+)'$", told, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    for name, command in COMMANDS.items():
        if name:
            section = sections[command.prog]
            assert "exit codes:" in section
            assert "examples:" in section
            for action in command._actions:
                if not isinstance(action, argparse._HelpAction):
                    assert all(option in section for option in action.option_strings)


def test_the_manual_of_the_settings_has_every_setting_with_its_default(share: Path) -> None:
    told = page(share, "man5/swf-bridge.env.5")
    names = re.findall(r"^ +(SWF_BRIDGE_\w+)=", told, flags=re.MULTILINE)
    assert sorted(names) == sorted(variable(name) for name in Settings.model_fields)
    assert re.search(r"^ +SWF_BRIDGE_AMQP_URL=amqp://guest:guest@localhost:5672/%2F$", told, re.M)


BASH = """
source {script}
function=$(complete -p swf-bridge | sed "s/.*-F \\([^ ]*\\).*/\\1/")
COMP_WORDS=({words}) COMP_LINE="{words}"
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$function swf-bridge "${{COMP_WORDS[-1]}}"
printf "%s\\n" "${{COMPREPLY[@]}}"
"""


def test_bash_completes_commands_and_options(share: Path) -> None:
    script = share / "bash-completion/completions/swf-bridge"

    def complete(words: str) -> set[str]:
        ask = BASH.format(script=script, words=words)
        return set(source.run("bash", "-c", ask, cwd=share).split())

    assert complete(PARTLY) == WANTED
    assert complete("swf-bridge tasks list --st") == {"--state"}
    assert complete("swf-bridge tasks list --state w") == {"waiting"}


def test_fish_completes_commands_and_says_what_they_are_for(share: Path) -> None:
    script = share / "fish/vendor_completions.d/swf-bridge.fish"
    ask = f"source {script}; complete -C '{PARTLY}'"
    lines = source.run(needed("fish"), "--no-config", "-c", ask, cwd=share).splitlines()
    told = dict(line.split("\t") for line in lines)
    assert set(told) == WANTED
    assert told["tasks"] == "the tasks in hand: list, show, publish again, fail"


ZSH = """
zmodload zsh/zpty
typeset line all
until_read() {{
    for i in {{1..100}}; do
        while zpty -r -t shell line; do all+=$line; done
        [[ $all == *${{~1}}* ]] && return
        sleep 0.1
    done
}}
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=({folder} \\$fpath); autoload -Uz compinit; compinit -u -D"
zpty -w shell "bindkey '^I' list-choices; LISTMAX=0; print READY"
until_read $'\\n'READY
all=
zpty -w -n shell $'{words}\\t'
until_read 'tasks*topology*-- '
print -r -- $all
"""


def test_zsh_completes_commands(share: Path, tmp_path: Path) -> None:
    script = ZSH.format(folder=share / "zsh/site-functions", words=PARTLY)
    told = source.run(needed("zsh"), "-f", "-c", script, cwd=tmp_path, HOME=str(tmp_path))
    plain = re.sub(r"\x1b\[\w", "", told)
    assert set(re.findall(r"^(\S+) +-- ", plain, flags=re.MULTILINE)) == WANTED

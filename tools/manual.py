"""Write swf-bridge(1), swf-bridge.env(5) and the completion of bash, zsh and fish into a folder.

    python tools/manual.py OUT

They are made of the parser and of config/bridge.env.example, which a test holds to the settings:
nothing of them is written by hand, so none is ever behind. The folder gets what /usr/share has.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import shtab
from argparse_manpage.manpage import Manpage

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the build of tools/install does not install the bridge itself

from bridge import __version__  # noqa: E402
from bridge.cli.parsing import parser  # noqa: E402
from bridge.cli.parsing.examples import USAGES  # noqa: E402

COMPLETION = {
    "bash": "bash-completion/completions/swf-bridge",
    "zsh": "zsh/site-functions/_swf-bridge",
    "fish": "fish/vendor_completions.d/swf-bridge.fish",
}
SECTIONS = {
    "environment": """\
The settings are environment variables, each told in
.BR swf-bridge.env (5).
Region and credentials of AWS are found as by every program that uses its SDK.""",
    "files": """\
.TP
.I /etc/swf-bridge/bridge.env
settings of swf-bridge.service
.TP
.I /etc/swf-bridge/NAME.env
settings of swf-bridge@NAME.service
.TP
.I /etc/swf-bridge/peer-NAME.env
what swf-bridge-peer@NAME.service has otherwise than bridge.env
.TP
.I /var/lib/swf-bridge/
journal.db, the tasks in hand; of swf-bridge@NAME.service in a folder NAME,
of swf-bridge-peer@NAME.service in /var/lib/swf-bridge-peer/NAME
.TP
.I /run/swf-bridge/
control.sock, where the daemon answers the commands; likewise""",
    "see also": ".BR swf-bridge.env (5),\n.BR systemctl (1),\n.BR journalctl (1)",
}


def main() -> None:
    """Write all five."""
    out = Path(sys.argv[1])
    pages = {"man/man1/swf-bridge.1": program(), "man/man5/swf-bridge.env.5": settings()}
    for shell, place in COMPLETION.items():
        pages[place] = shtab.complete(with_summaries(parser.build()), shell)
    for place, text in pages.items():
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        (out / place).write_text(text)


def commands(parent: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Every command with its own, and what the list above it says of each."""
    for action in parent._actions:
        if isinstance(action, argparse._SubParsersAction):
            told: list[Any] = action._choices_actions
            for each, summary in zip(action.choices.values(), told, strict=True):
                yield each, summary.help
                yield from commands(each)


def with_summaries(whole: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser, with descriptions as short as a shell's list of completions wants them."""
    for command, summary in commands(whole):
        command.description = summary
    return whole


def program() -> str:
    """swf-bridge(1)."""
    whole = parser.build()
    for command, _ in commands(whole):  # the library leaves out what a command's help ends with
        command.description = "\n\n".join(filter(None, (command.description, command.epilog)))
    whole.epilog = None
    told = {
        "prog": parser.NAME,
        "description": "carries Amazon SWF activity tasks to RabbitMQ workers",
        "manual_section": 1,
        "manual_title": "swf-bridge",
        "project_name": parser.NAME,
        "version": __version__,
    }
    whole._manpage = [  # type: ignore[attr-defined]
        {"heading": heading, "content": content}
        for heading, content in {"exit status": exit_codes(), **SECTIONS}.items()
    ]
    _, _, rest = str(Manpage(whole, _data=told)).partition("\n")
    return f"{title('SWF-BRIDGE', 1)}\n{rest}"


def title(name: str, section: int) -> str:
    """A page's first line, with the date in the one form that every reader of pages knows."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    date = time.strftime("%Y-%m-%d", time.gmtime(seconds))
    return f'.TH {name} {section} {date} "swf-bridge {__version__}" "swf-bridge"'


def exit_codes() -> str:
    """What they mean for most commands; each tells its own."""
    return "\n".join(f".TP\n.B {code}\n{roff(text)}" for code, text in USAGES[""].codes.items())


def settings() -> str:
    """swf-bridge.env(5)."""
    about, *blocks = (ROOT / "config/bridge.env.example").read_text().strip().split("\n\n")
    lines = [
        title("SWF-BRIDGE.ENV", 5),
        ".SH NAME",
        "swf\\-bridge.env \\- settings of swf\\-bridge",
        ".SH DESCRIPTION",
        *prose(about),
    ]
    for block in blocks:
        heading = re.fullmatch(r"#### (.+?) #+", block)
        lines += [f".SH {roff(heading[1]).upper()}"] if heading else setting(block)
    return "\n".join([*lines, ".SH SEE ALSO", ".BR swf-bridge (1),", ".BR systemd.exec (5)", ""])


def setting(block: str) -> list[str]:
    """One setting, or several that are told together, under its name and default."""
    named = re.findall(r"^# (\w+=.*)$", block, flags=re.MULTILINE)
    heads = [line for name in named for line in (".TQ", f".B {roff(name)}")]
    return [".TP", *heads[1:], *prose(block)]


def prose(block: str) -> list[str]:
    """The lines behind ##; an empty one parts two paragraphs."""
    told = re.findall(r"^## ?(.*)$", block, flags=re.MULTILINE)
    return [roff(line) or ".PP" for line in told]


def roff(text: str) -> str:
    """The text as it is, whatever is in it."""
    quoted = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{quoted}" if quoted.startswith(".") else quoted


if __name__ == "__main__":
    main()

"""``--help`` of every command: two examples that are accepted, and what its exit codes mean."""

import argparse
import re
import shlex

import pytest

from bridge.cli.parsing import parser
from bridge.cli.parsing.examples import USAGES
from bridge.cli.parsing.parser import NAME, Parser

# In brackets, or behind assignments: what the shell makes of the line is not ours.
INVOKED = re.compile(rf"(?:^|[(;|&]\s*|\w=\S+ ){NAME} ([^|&;)>]*)")


def commands(parent: Parser) -> dict[str, Parser]:
    """Every command with its own commands, by how it is called."""
    found = {parent.prog.removeprefix(NAME).strip(): parent}
    for action in parent._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                found |= commands(each)
    return found


PARSER = parser.build()
COMMANDS = commands(PARSER)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_two_examples_and_the_exit_codes(command):
    usage = USAGES.get(command)
    assert usage is not None, (
        f"give `{command}` two examples and its codes in cli/parsing/examples.py"
    )
    assert len(usage.examples) >= 2
    assert {0, 64} <= set(usage.codes)
    told = COMMANDS[command].format_help()
    assert told.rstrip().endswith(str(usage))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_is_a_command_line_that_is_accepted_and_is_of_that_command(command):
    for _, example in USAGES[command].examples:
        lines = [shlex.split(each) for each in INVOKED.findall(example)]
        assert lines, f"no command in {example!r}"
        for line in lines:
            assert PARSER.parse_args(line).run
            assert command.split() == line[: len(command.split())]


def test_a_description_of_one_paragraph_is_broken_to_the_width_of_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    for command in COMMANDS.values():
        described = command.format_help().partition("\nexamples:")[0]
        # argparse breaks no group of options that exclude each other, and indents it in the usage.
        told = described.removeprefix("usage:").partition("\n\n")[2]
        assert max(map(len, told.splitlines())) <= 80


def test_options_of_local_run_hold_before_its_name_too():
    before = PARSER.parse_args(["local", "--listen", "h:1", "--with-broker", "run"])
    after = PARSER.parse_args(["local", "run", "--listen", "h:1", "--with-broker"])
    without = PARSER.parse_args(["local", "--listen", "h:1", "--with-broker"])
    assert before == after == without
    assert (before.listen, before.with_broker, before.hold) == ("h:1", True, 60.0)


@pytest.mark.parametrize("command", ["submit X", "cancel 1", "terminate 1", "show 1", "list"])
def test_options_of_local_run_before_another_command_are_a_wrong_command_line(command, capsys):
    args = PARSER.parse_args(["local", "--listen", "h:1", *command.split()])
    with pytest.raises(SystemExit) as ended:
        args.run(args)
    assert ended.value.code == 64
    assert "--listen is an option of swf-bridge local run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("local submit Text.echo --count 2 hello", "input", "hello"),
        ("local submit Text.echo --json -", "input", "-"),
        ("local submit Text.echo --count 2 -- -5", "input", "-5"),
        ("local submit --count 2 Text.echo --json hello", "input", "hello"),
        ("pause images --for 30m mails --json more", "lists", ["images", "mails", "more"]),
        ("tasks fail 1f0c8a --reason gone 77b2aa", "ids", ["1f0c8a", "77b2aa"]),
        ("dead drop --yes 9c1e04 --json 77b2aa", "ids", ["9c1e04", "77b2aa"]),
    ],
)
def test_an_argument_may_follow_an_option_that_follows_an_argument(line, name, value):
    assert getattr(PARSER.parse_args(line.split()), name) == value


@pytest.mark.parametrize(
    ("line", "unrecognized"),
    [
        ("local submit Text.echo --count 2 hello again", "again"),
        ("pause images --json --bogus mails", "--bogus mails"),
        ("tasks show 1f0c8a --json 77b2aa", "77b2aa"),
        ("status now", "now"),
    ],
)
def test_what_nothing_takes_is_a_wrong_command_line(line, unrecognized, capsys):
    with pytest.raises(SystemExit) as ended:
        PARSER.parse_args(line.split())
    assert ended.value.code == 64
    assert capsys.readouterr().err.endswith(f"unrecognized arguments: {unrecognized}\n")

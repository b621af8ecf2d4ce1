import os
import resource
import subprocess
import sys

import pytest

from bridge import __revision__, __version__
from bridge.__main__ import main
from bridge.cli.parsing import parser
from tests.integration.cli_process import LISTS, swf_bridge

COMMANDS = [command.__name__.rpartition(".")[2] for command in parser.COMMANDS]
PROGRAM = [sys.executable, "-m", "bridge"]
SLOW = {
    "pydantic",
    "pydantic_settings",
    "boto3",
    "botocore",
    "pika",
    "sentry_sdk",
    "prometheus_client",
}


@pytest.mark.parametrize(
    "args", [["nonsense"], ["run", "--nonsense"], ["run", "nonsense"], ["config", "--json=1"]]
)
def test_a_wrong_command_line_exits_64_with_the_usage_and_one_line(args, capsys):
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 64
    out, err = capsys.readouterr()
    usage, *_, problem = err.splitlines()
    assert out == ""
    assert usage.startswith("usage: swf-bridge")
    assert problem.startswith("swf-bridge")


def test_no_command_at_all_exits_64_with_the_help(capsys):
    assert main([]) == 64
    said = capsys.readouterr().err
    assert all(f"\n    {name}" in said for name in COMMANDS)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_goes_to_standard_output(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: " + " ".join(["swf-bridge", *command]))


def test_version_and_revision_are_told():
    assert swf_bridge("--version").out == f"swf-bridge {__version__} (revision {__revision__})\n"


def test_help_loads_nothing_that_is_slow():
    module = "bridge.cli.parsing.parser"
    script = f"import sys; from {module} import build; build(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not SLOW & set(loaded.stdout.split())


def test_help_answers_at_once():
    """In processor time, which a busy machine does not stretch as it does the clock's."""
    best = min(_seconds_of_processor([*PROGRAM, "--help"]) for _ in range(5))
    assert best < 0.15 + min(_seconds_of_processor([sys.executable, "-c", ""]) for _ in range(5))


def _seconds_of_processor(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_reader_that_leaves_early_is_no_error_to_speak_of():
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", "bridge", "config"],
        env=LISTS, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=20,
    )  # fmt: skip
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")

"""The commands of README and docs/ are ones, and each is run by a test or there is a reason."""

import re
import shlex

import pytest

from bridge.cli.parsing.parser import build
from bridge.conformance.checks import CHECKS
from tests.conformance.pages import PAGES, shell_blocks
from tests.conformance.trials import ROOT

WORKERS = ROOT / "docs/workers.md"
LOCAL, LANGUAGES = "test_local_everything.py", "languages.py"
RUN_BY = {
    ".venv/bin/swf-bridge local run --with-broker": LOCAL,
    "export AMQP_URL=": LOCAL,
    "node examples/node/worker.mjs": LOCAL,
    "swf-bridge local submit": LOCAL,
    '{"name": ': LOCAL,
    "END": LOCAL,
    "swf-bridge local list": LOCAL,
    "export AWS_": LOCAL,
    "aws swf ": LOCAL,
    "swf-bridge conformance": "test_conformance.py",
    "GO111MODULE=off": LANGUAGES,
    "LIBRARIES=": LANGUAGES,
    "javac ": LANGUAGES,
    "AMQP_URL=amqp://… .venv/bin/python greeter.py": "../acceptance/test_readme_worker.py",
    ".venv/bin/swf-bridge local submit Greeter.say": "../acceptance/test_readme_worker.py",
    "make install": "../systemd/test_install.py",
    "systemctl enable --now swf-bridge": "../systemd/test_install.py",
    "swf-bridge check --connect --service": "../systemd/test_check.py",
    "swf-bridge pause": "../acceptance/test_pausing.py",
    "swf-bridge resume": "../acceptance/test_pausing.py",
    "systemctl restart swf-bridge-peer@2": "../systemd/test_rolling_restart.py",
    "systemctl restart swf-bridge ": "../systemd/test_rolling_restart.py",
    "systemctl disable --now swf-bridge": "../systemd/test_rolling_restart.py",
    "cd /var/lib/private && mv": "../systemd/test_rolling_restart.py",
    "mv /etc/swf-bridge/bridge.env": "../systemd/test_rolling_restart.py",
    "mv /etc/swf-bridge/eu-west-1.env": "../systemd/test_rolling_restart.py",
    "printf ": "../systemd/test_rolling_restart.py",
    "swf-bridge units": "../packages/test_wheel.py",
    "python3 -m venv /opt/swf-bridge": "../packages/test_wheel.py",
}
"""How a command begins, and the test that runs it or what it says."""

NOT_RUN = {
    "make setup-broker setup-node": "`make test` has done it before any test begins",
    "editor ": "is for a person",
    "apt install ./swf-bridge": "`make packages` does, tests/systemd/deb.py",
    "podman run ": "`make packages` does, with names of its own: tests/packages/container.py",
    "man ": "is for a person; tests/packages/test_manual.py runs man",
    "ln -s /opt/swf-bridge": "links what tests/packages/test_wheel.py has installed elsewhere",
    "mkdir -m 700 /etc/swf-bridge": "writes settings; test_wheel.py prints them",
    "swf-bridge drain && poweroff": "stops a machine; tests/acceptance/test_draining.py drains",
    "swf-bridge status": "wants a service; tests/acceptance/test_commands.py runs the command",
    "systemctl status": "systemd's own",
    "curl ": "the path is asked for in tests/acceptance",
    "journalctl ": "systemd's own",
    "rabbitmqctl ": "RabbitMQ's own",
}
"""How a command begins, and why no test runs it as it stands there."""


def commands(text: str) -> list[str]:
    """The lines, each with those that go on with it; comments and indentation cut."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


COMMANDS = [line for page in PAGES for block in shell_blocks(page) for line in commands(block)]
OURS = [line for line in COMMANDS if re.match(r"(\.venv/bin/)?swf-bridge ", line)]


@pytest.mark.parametrize("command", OURS)
def test_a_command_of_ours_is_one(command: str) -> None:
    ours = re.split(r" (?:\|\||&&|<<|#) ?", command)[0].replace("http://127.0.0.1:…", "http://x")
    build().parse_args(shlex.split(ours.replace(" - ", " -"))[1:])


def test_every_command_is_run_by_a_test_or_there_is_a_reason() -> None:
    told = (*RUN_BY, *NOT_RUN)
    assert [line for line in COMMANDS if not line.startswith(told)] == []
    assert [start for start in told if not any(line.startswith(start) for line in COMMANDS)] == []


@pytest.mark.parametrize("test", sorted(set(RUN_BY.values())))
def test_what_is_said_to_run_them_is_there(test: str) -> None:
    assert (ROOT / "tests/conformance" / test).exists()


def test_the_docs_name_every_check_and_what_it_expects() -> None:
    text = WORKERS.read_text()
    assert [c.name for c in CHECKS if f"| `{c.name}` | {c.expected} |" not in text] == []

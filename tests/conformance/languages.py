"""Every worker of examples/ against the contract: `make examples`. `make test` tries two."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from bridge.conformance.checks import CHECKS
from tests.conformance.pages import shell_blocks
from tests.conformance.trials import ROOT, Tried

JARS = [f"/usr/share/java/{name}.jar" for name in ("amqp-client", "gson", "slf4j-api")]
COMMANDS = {
    "go": ("--worker", "{folder}/worker"),
    "java": ("--worker", "java -cp {folder}/build:" + ":".join(JARS) + " Worker"),
    "node": ("--worker", "node examples/node/worker.mjs"),
    "php": ("--worker", "php examples/php/worker.php"),
    "python": ("--worker", f"{sys.executable} examples/python/worker.py"),
    "ruby": ("--worker", "ruby examples/ruby/worker.rb"),
    "shell": (
        "--worker",
        "examples/shell/worker.sh",
        "--queue",
        "work",
        "--skip",
        "deadline",
        "--skip",
        "confirmed",
    ),
}


@pytest.fixture(scope="module")
def trials(
    begin: Callable[..., "Future[Tried]"], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, "Future[Tried]"]:
    """All at once."""
    folder = tmp_path_factory.mktemp("built")
    (block,) = [b for b in shell_blocks(ROOT / "docs/workers.md") if "javac" in b]
    builds = re.sub("^(.*) && .*$", r"\1", block, flags=re.MULTILINE)  # they are started below
    (folder / "examples").symlink_to(ROOT / "examples")
    environment = {**os.environ, "GOFLAGS": "", "GOCACHE": f"{folder}/cache"}
    subprocess.run(
        ["/bin/sh", "-euc", builds], cwd=folder, env=environment, check=True, timeout=300
    )
    return {
        name: begin(*(option.format(folder=folder) for option in options))
        for name, options in COMMANDS.items()
    }


def test_every_folder_of_the_examples_is_tried() -> None:
    assert sorted(COMMANDS) == sorted(f.name for f in (ROOT / "examples").iterdir() if f.is_dir())


def test_the_readme_promises_the_languages_that_are_tried() -> None:
    """What `make examples` runs stands there, between “Workers in” and a full stop."""
    text = " ".join((ROOT / "README.md").read_text().split())
    (promise,) = re.findall(r"Workers in ([^.]*) stand in \[`examples/`\]", text)
    assert sorted(re.split(", | and ", promise.lower())) == sorted(COMMANDS)


def test_the_docs_name_the_languages_that_are_tried() -> None:
    text = (ROOT / "docs/workers.md").read_text()
    named = {word.removeprefix("examples/").split("/")[0]
             for word in text.replace("(", " ").replace(")", " ").replace("`", " ").split()
             for word in [word.removeprefix("../")] if word.startswith("examples/")}  # fmt: skip
    assert named == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_worker_passes_every_check(trials: dict[str, "Future[Tried]"], name: str) -> None:
    tried = trials[name].result()
    assert tried.code == 0, tried.out + tried.err
    skipped = COMMANDS[name].count("--skip")
    passed = len(CHECKS) - skipped - 1  # this broker is not restarted for `durable`
    end = f": {passed} passed, 0 failed, {skipped} not tried, 1 not seen\n"
    assert tried.out.endswith(end), tried.out

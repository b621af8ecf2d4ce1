"""The shell blocks of README and docs/, and a local SWF, a broker and the bridge to run them in."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.conformance.trials import ROOT

PAGES = (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))


class Everything(NamedTuple):
    """What `swf-bridge local run --with-broker --with-bridge` printed."""

    endpoint: str
    amqp_url: str


def shell_blocks(page: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@contextmanager
def everything() -> Iterator[Everything]:
    """Started by that command, and ended by SIGINT."""
    command = [sys.executable, "-m", "bridge", "local", "run", "--listen", "127.0.0.1:0"]
    command += ["--with-broker", "--with-bridge", "--hold", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = dict.fromkeys(("AWS_ENDPOINT_URL_SWF=", "AMQP_URL=", "its page is "), "")
    try:
        while not all(said.values()):
            line = process.stdout.readline()
            assert line, "it ended"
            for words in said:
                if words in line and not said[words]:
                    said[words] = line.split(words)[1].split()[0]
        endpoint, url, _ = said.values()
        yield Everything(endpoint, url)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

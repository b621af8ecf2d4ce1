"""A real browser: Debian's Chromium without a window, asked over a pair of pipes.

It speaks the DevTools protocol: JSON, each message ended by NUL, to its descriptor 3 and from its
descriptor 4. When the pipes close, because the test ends in whatever way, it ends as well.
"""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.processes import until

ROOT = Path(__file__).parents[2]
AXE = ROOT / "tools/node/node_modules/axe-core/axe.min.js"
PROGRAM = "chromium"
ANSWER_TIMEOUT = 60.0

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
_LAUNCH = """
import os, sys
for number, end in zip((103, 104), map(int, sys.argv[1:3])):
    os.dup2(end, number)
for number in (3, 4):
    os.dup2(100 + number, number)
    os.close(100 + number)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def skip_without_browser() -> None:
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"no {PROGRAM} in PATH (package {PROGRAM}): `make test` installs it")


class Browser:
    """One Chromium with a profile of its own; `tab()` opens a page in it."""

    def __init__(self) -> None:
        self._profile = tempfile.mkdtemp(prefix="browser-")
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _LAUNCH,
                str(theirs_in),
                str(theirs_out),
                PROGRAM,
                *_FLAGS,
                f"--user-data-dir={self._profile}",
            ],
            env={"PATH": os.environ["PATH"], "HOME": self._profile, "LANG": "C.UTF-8"},
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._ids = itertools.count(1)
        self._answers: dict[int, Future[dict[str, Any]]] = {}
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """What each session has told, in order."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def call(self, method: str, session: str = "", **given: Any) -> dict[str, Any]:
        """Have it done, and return the result."""
        number = next(self._ids)
        answer = self._answers[number] = Future()
        message = {"id": number, "method": method, "params": given}
        told = json.dumps(message | ({"sessionId": session} if session else {}))
        os.write(self._to, told.encode() + b"\0")
        result = answer.result(ANSWER_TIMEOUT)
        if "error" in result:
            raise AssertionError(f"{method}: {result['error']}")
        return result["result"]

    def tab(self) -> "Tab":
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        return Tab(self, target, attached["sessionId"])

    def end(self) -> None:
        """Leave no process and no file."""
        os.close(self._to)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        os.close(self._from)
        until(lambda: not self._rest())

    def _rest(self) -> bool:
        """Whether the profile is still there: who is dying may write to it once more."""
        shutil.rmtree(self._profile, ignore_errors=True)
        return Path(self._profile).exists()

    def _read(self) -> None:
        rest = b""
        while part := os.read(self._from, 1 << 20):
            *messages, rest = (rest + part).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers.pop(message["id"]).set_result(message)
                else:
                    self.events[message.get("sessionId", "")].append(message)
        for answer in self._answers.values():
            answer.set_exception(AssertionError("the browser has ended"))


class Tab:
    """One page, and what it asked the network for since it was opened."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **given)

    def told(self, method: str) -> list[dict[str, Any]]:
        """The events so named, as far as the page has got."""
        return [
            e["params"] for e in list(self._browser.events[self._session]) if e["method"] == method
        ]

    @property
    def asked(self) -> list[str]:
        """The URL of every request so far."""
        return [each["request"]["url"] for each in self.told("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[Any]:
        """Exceptions of scripts, and what the browser logs, as that a policy was violated."""
        thrown = [each["exceptionDetails"] for each in self.told("Runtime.exceptionThrown")]
        return thrown + [each["entry"] for each in self.told("Log.entryAdded")]

    def open(self, url: str) -> "Tab":
        loaded = len(self.told("Page.loadEventFired"))
        self.call("Page.navigate", url=url)
        assert until(lambda: len(self.told("Page.loadEventFired")) > loaded, 30)
        return self

    def look(
        self, width: int = 1280, height: int = 900, *, scheme: str = "light", motion: str = "reduce"
    ) -> "Tab":
        """The size of the window, and what the reader prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        wanted = [{"name": name, "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=wanted)
        return self

    def without_script(self) -> "Tab":
        self.call("Emulation.setScriptExecutionDisabled", value=True)
        return self

    def run(self, script: str) -> Any:
        """The value of an expression in the page; of a promise, once it is kept."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """What a person reads there; nothing where there is no such element."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def until(self, condition: Callable[["Tab"], object], seconds: float = 15) -> bool:
        """Whether it came true in time, without a reload."""
        return until(lambda: bool(condition(self)), seconds)

    def violations(self) -> list[Any]:
        """What axe-core finds amiss for people who hear the page or see it badly."""
        self.run(AXE.read_text() + ";0")
        found = self.run("axe.run(document).then(found => found.violations)")
        return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]

    def tree(self) -> list[tuple[str, str]]:
        """Role and name of what a screen reader meets, in its order."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "").strip())
            for node in nodes
            if not node["ignored"]
        ]

    def screenshot(self, path: Path) -> None:
        """The whole page, also what is below the window's edge."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(image["data"]))

    def picture(self, path: Path) -> None:
        """What a reader sees first, as a small file."""
        image = self.call("Page.captureScreenshot", format="webp", quality=75)
        path.write_bytes(base64.b64decode(image["data"]))

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

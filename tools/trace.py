"""The way of one task, one heartbeat and one reply through the files of bridge/: `make trace`.

A daemon runs under a profile function, against a local SWF and a RabbitMQ, and each of the three
passes it ROUNDS times. A switch is a call or a return from one file of bridge/ into another, on one
thread; what a library calls back counts from the file that called the library. What threads do by
the clock is left out (BY_THE_CLOCK, and the threads in OTHERS). Of the rounds that with the fewest
switches is shown: other work of the daemon falls into some of them. ``--json`` prints the same as
data; ``--amqp URL`` uses a RabbitMQ that is there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any, NamedTuple

import pika

import bridge
from bridge.local.rabbitmq import RabbitNode
from bridge.local.server import LocalSwf

PACKAGE = f"{Path(bridge.__file__).parent}{os.sep}"
ROUNDS = 10
QUIET = 0.15
"""Seconds without an event after which a step counts as over."""
LONGEST = 30.0
OTHERS = {"MainThread", "timer", "reconciler", "signals", "control"}
BY_THE_CLOCK = {"_on_tick"}
"""Functions whose calls are left out, with all that they call."""
WIRING = "wiring.py"


class Event(NamedTuple):
    """A call into a file of bridge/, or a return from it."""

    is_call: bool
    file: str
    other: str | None
    """The file that called it, or to which it returns."""


class Way(NamedTuple):
    """What one step took."""

    files: int
    calls: int
    switches: int
    through_wiring: int


# --- in the daemon's process ---


class Recorder:
    """Notes the events of every thread that starts after it was installed."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.last = time.monotonic()

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """Be told by the interpreter; threading.setprofile."""
        path = frame.f_code.co_filename
        if event not in ("call", "return") or not path.startswith(PACKAGE):
            return
        if threading.current_thread().name in OTHERS:
            return
        other: str | None = None
        below: FrameType | None = frame
        while below is not None:
            if below.f_code.co_name in BY_THE_CLOCK:
                return
            below = below.f_back
            if other is None and below and below.f_code.co_filename.startswith(PACKAGE):
                other = below.f_code.co_filename.removeprefix(PACKAGE)
        self.events.append(Event(event == "call", path.removeprefix(PACKAGE), other))
        self.last = time.monotonic()

    def way(self) -> Way:
        """What the events that were noted come to."""
        events = list(self.events)
        switches = [each for each in events if each.other not in (None, each.file)]
        return Way(
            len({each.file for each in events}),
            sum(each.is_call for each in events),
            len(switches),
            sum(WIRING in (each.file, each.other) for each in switches),
        )


def run_daemon() -> int:
    """Run the daemon; each line of standard input begins or ends a step."""
    from bridge.daemon import run  # noqa: PLC0415 - in this process alone
    from bridge.settings.settings import Settings  # noqa: PLC0415

    recorder = Recorder()
    threading.Thread(target=_obey, args=(recorder,), name="control", daemon=True).start()
    threading.setprofile(recorder.note)
    return run(Settings.load())


def _obey(recorder: Recorder) -> None:
    for line in sys.stdin:
        if line == "begin\n":
            recorder.events.clear()
            print("begun", flush=True)
        else:
            while time.monotonic() - recorder.last < QUIET:
                time.sleep(QUIET / 10)
            print(json.dumps(recorder.way()), flush=True)


# --- beside it ---


class Bench:
    """A daemon under trace, a worker and an SWF."""

    def __init__(self, swf: LocalSwf, channel: Any, daemon: subprocess.Popen[str]) -> None:
        self._swf = swf
        self._channel = channel
        self._daemon = daemon
        self._answers = channel.queue_declare("", exclusive=True).method.queue
        self._message: Any = None
        self._body: dict[str, Any] = {}
        self._task = ""

    def task(self) -> None:
        """From a poll's answer to the queue of a worker."""
        self._task = self._swf.submit("trace", input="input")
        self._body = json.loads(self._take("work"))

    def heartbeat(self) -> None:
        """From the reply queue to SWF and back to the queue of the worker that asks."""
        self._send(status="heartbeat", details="half")
        assert json.loads(self._take(self._answers))["open"] is True

    def reply(self) -> None:
        """From the reply queue to SWF, and acknowledged."""
        self._send(status="completed", result="result")
        _until(lambda: self._swf.task(self._task)["state"] == "completed")

    def traced(self, step: Callable[[], None]) -> Way:
        """What it takes from the step's beginning until nothing happens any more."""
        self._ask("begin")
        step()
        return Way(*json.loads(self._ask("end")))

    def settle(self) -> None:
        """Wait until nothing happens."""
        self._ask("end")

    def _ask(self, what: str) -> str:
        channels = self._daemon
        assert channels.stdin is not None
        assert channels.stdout is not None
        channels.stdin.write(f"{what}\n")
        channels.stdin.flush()
        return channels.stdout.readline()

    def _send(self, **fields: str) -> None:
        properties = pika.BasicProperties(delivery_mode=2, reply_to=self._answers)
        body = json.dumps({"taskToken": self._body["taskToken"], **fields}).encode()
        self._channel.basic_publish("", "swf.replies", body, properties, mandatory=True)

    def _take(self, queue: str) -> bytes:
        taken: list[bytes] = []

        def got() -> bool:
            method, _, body = self._channel.basic_get(queue, auto_ack=True)
            if method is not None:
                taken.append(body)
            return bool(taken)

        _until(got)
        return taken[0]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the daemon does not get on with it")
        time.sleep(0.005)


@contextmanager
def benches(url: str) -> Iterator[Bench]:
    """A bench on the RabbitMQ at ``url``."""
    with tempfile.TemporaryDirectory() as folder, LocalSwf(hold=60.0) as swf:
        connection = pika.BlockingConnection(pika.URLParameters(url))
        channel = connection.channel()
        channel.confirm_delivery()
        channel.exchange_declare("swf.activities", "topic", durable=True)
        channel.queue_declare("work", durable=True)
        channel.queue_bind("work", "swf.activities", "#")
        daemon = subprocess.Popen(
            [sys.executable, __file__, "daemon"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_settings(url, swf.endpoint, folder)},
            text=True,
        )
        try:
            _until(lambda: swf.counts()["polls"] > 0)
            yield Bench(swf, channel, daemon)
        finally:
            daemon.kill()
            daemon.wait()
            _close(daemon.stdin, daemon.stdout)
            connection.close()


def _close(*streams: IO[str] | None) -> None:
    for stream in streams:
        if stream is not None:
            stream.close()


def _settings(url: str, endpoint: str, folder: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_SWF": endpoint,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "trace",
        "AWS_SECRET_ACCESS_KEY": "trace",
        "SWF_BRIDGE_AMQP_URL": url,
        "SWF_BRIDGE_DOMAIN": "demo",
        "SWF_BRIDGE_TASK_LISTS": "demo",
        "SWF_BRIDGE_POLLERS": "1",
        "SWF_BRIDGE_JOURNAL": f"{folder}/journal.db",
        "SWF_BRIDGE_HTTP": "off",
        "SWF_BRIDGE_LOG_LEVEL": "WARNING",
    }


def measure(url: str, rounds: int) -> dict[str, Way]:
    """The figures of each step, of the round in which it took the fewest switches."""
    found: dict[str, list[Way]] = {"task": [], "heartbeat": [], "reply": []}
    with benches(url) as bench:
        for number in range(rounds + 1):
            for name, ways in found.items():
                bench.settle()
                way = bench.traced(getattr(bench, name))
                if number:  # the first time much is looked up for once
                    ways.append(way)
    return {name: min(ways, key=lambda way: way.switches) for name, ways in found.items()}


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--amqp", help="URL of a RabbitMQ; without, one is started")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.amqp:
        ways = measure(args.amqp, args.rounds)
    else:
        with RabbitNode() as node:
            ways = measure(node.url(), args.rounds)
    if args.json:
        print(json.dumps({name: way._asdict() for name, way in ways.items()}))
        return 0
    print(f"{'':10}{'files':>8}{'calls':>8}{'switches':>10}{'through wiring':>16}")
    for name, way in ways.items():
        print(f"{name:10}{way.files:8}{way.calls:8}{way.switches:10}{way.through_wiring:16}")
    return 0


if __name__ == "__main__":
    sys.exit(run_daemon() if sys.argv[1:2] == ["daemon"] else main())

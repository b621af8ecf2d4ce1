"""What comes from this machine: control socket, HTTP, settings, journal files, local SWF."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from bridge.cli.text import printable
from bridge.control.server import ControlServer
from bridge.control.tasks import TaskCommands
from bridge.errors import ConfigError
from bridge.journal.journal import Journal
from bridge.local import LocalSwf
from bridge.message.message import encode_task
from bridge.settings.settings import Settings
from bridge.status.http import StatusServer
from bridge.telemetry.logs import JournaldFormatter, JsonFormatter, TextFormatter
from bridge.telemetry.redact import redact
from bridge.threads.listener import Client
from tests.environment import settings_of
from tests.unit.bridge_parts import Bench, a_task
from tests.unit.test_status import Daemon

from .inputs import Feed, source

ROOM = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where files are made quickly."""


class Tracebacks(logging.Handler):
    """Notes records with a traceback: a fault of the bridge's that was caught somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.seen.append(record)

    def check(self) -> None:
        if self.seen:
            error = self.seen[0].exc_info
            self.seen.clear()
            raise AssertionError("a traceback in the log") from (error[1] if error else None)


@contextmanager
def _watched() -> Iterator[Tracebacks]:
    watch, log = Tracebacks(), logging.getLogger("bridge")
    log.addHandler(watch)
    log.propagate, before = False, log.propagate
    try:
        yield watch
    finally:
        log.propagate = before
        log.removeHandler(watch)


@contextmanager
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for each in (ours, theirs):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            each.settimeout(2)
        yield ours, theirs


def _send(theirs: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        theirs.sendall(data)
    with suppress(OSError):
        theirs.shutdown(socket.SHUT_WR)


def _received(theirs: socket.socket) -> bytes:
    got = bytearray()
    with suppress(OSError):
        while part := theirs.recv(1 << 20):
            got += part
    return bytes(got)


class _Swf:
    def respond(self, reply: object) -> None:
        """SWF takes everything."""


@source(
    (
        b'{"command": "tasks list"}\n',
        b'{"command": "tasks show", "id": "0123456789ab"}\n',
        b'{"command": "tasks republish", "ids": ["abcdef"], "all": true, "older_than": 60}\n',
        b'{"command": "tasks fail", "ids": [], "all": false, "reason": "r", "unpublished": true}\n',
        b'{"command": "tasks list", "domain": "demo", "task_list": "list", "payload": true}\n',
    ),
    words=(
        b'"command":', b'"ids":', b'"id":', b'"older_than":', b'"all":', b'"payload":', b"true",
        b'"tasks fail"', b'"tasks republish"', b"\n",
    ),
    share=10,
)  # fmt: skip
@contextmanager
def control_socket() -> Iterator[Feed]:
    """A line to the control socket, and the commands about tasks behind it."""
    with tempfile.TemporaryDirectory(dir=ROOM) as folder, _watched() as watch:
        bench = Bench(Path(folder, "journal.db"))
        commands = TaskCommands(
            bench.journal, _Swf(), bench.peers, bench.metrics, lambda entry, done: done,
            broker_ready=lambda: False, routing_key=lambda task: task.name, halted=lambda: False,
        )  # type: ignore[arg-type] # fmt: skip
        server = ControlServer(
            Path(folder, "c.sock"),
            {
                "tasks list": commands.list_tasks,
                "tasks show": commands.show_task,
                "tasks republish": commands.republish,
                "tasks fail": commands.fail,
            },
        )

        def feed(data: bytes) -> str:
            if not bench.in_flight:
                bench.hold("token-1")
            with _pair() as (ours, theirs):
                _send(theirs, data)
                client = Client(ours, 10.0)
                try:
                    server.serve(client)
                except OSError:
                    return "closed"
                finally:
                    ours.close()
                answer = _received(theirs)
            watch.check()
            assert answer.endswith(b"\n"), answer[-80:]
            return "error" if b'"error"' in answer else "answered"

        yield feed
        server.stop()
        bench.journal.close()


@source(
    (
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9464\r\nAccept: application/openmetrics-text;"
        b"version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n\r\n",
        b"HEAD /readyz?x=1 HTTP/1.0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: [::1]:80\r\nAccept: */*\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /metrics\r\n\r\n",
    ),
    words=(
        b"GET ", b"HEAD ", b"OPTIONS ", b"/metrics", b" HTTP/1.1\r\n", b" HTTP/9.9", b"Host: ",
        b"Accept: ", b"text/plain;version=", b"escaping=", b"Expect: 100-continue\r\n", b"\r\n\r\n",
    ),
    share=6,
)  # fmt: skip
@contextmanager
def page() -> Iterator[Feed]:
    """A request to the page, as it comes from the network."""
    daemon = Daemon()
    server = StatusServer(("127.0.0.1", 0), daemon)
    server.names = frozenset({"localhost"})
    with _watched() as watch:

        def feed(data: bytes) -> str:
            with _pair() as (ours, theirs):
                _send(theirs, data)
                try:
                    server.serve(Client(ours, 10.0))
                except OSError:
                    return "closed"
                finally:
                    ours.close()
                answer = _received(theirs)
            watch.check()
            if not answer:
                return "nothing"
            is_old = not answer.startswith(b"HTTP/1.1 ")  # HTTP/0.9 has no head
            return "body" if is_old else answer[9:12].decode()

        yield feed


@source(
    (
        b"SWF_BRIDGE_TASK_LISTS=a,b\0SWF_BRIDGE_DOMAIN=demo\0SWF_BRIDGE_HTTP=off",
        b'SWF_BRIDGE_TASK_LISTS=[{"name": "a", "domain": "d", "pollers": 2, "queue": "q"}]',
        b"SWF_BRIDGE_AMQP_URL=amqps://u:hunter2@h:5671/%2F,amqp://u:p@[::1]/v\0"
        b"SWF_BRIDGE_TASK_LISTS=x\0SWF_BRIDGE_DOMAIN=d\0SWF_BRIDGE_KEEPALIVE=30",
        b"SWF_BRIDGE_ROUTING_KEY={name}.{version}\0SWF_BRIDGE_SENTRY_DSN=https://k@h/1\0"
        b"SWF_BRIDGE_TASK_LISTS=a\0SWF_BRIDGE_DOMAIN=d\0SWF_BRIDGE_POLLERS=3",
        b"SWF_BRIDGE_JOURNAL=x.db\0SWF_BRIDGE_CONTROL=/tmp/x\0SWF_BRIDGE_AMQP_CA_FILE=/etc/passwd",
        b"SWF_BRIDGE_REPLY_QUEUE=r\0SWF_BRIDGE_UNDELIVERABLE=r\0SWF_BRIDGE_EXCHANGE=amq.x",
    ),
    words=tuple(f"\0SWF_BRIDGE_{name.upper()}=".encode() for name in Settings.model_fields),
    share=4,
)
@contextmanager
def settings() -> Iterator[Feed]:
    """The environment: accepted, or refused with a line that names the variable and no value."""

    def feed(data: bytes) -> str:
        text = data.decode("utf-8", "surrogateescape")
        pairs = (each.partition("=") for each in text.split("\0"))
        environ = {name: value for name, _, value in pairs if name}
        try:
            loaded = settings_of(environ)
        except ConfigError as error:
            for problem in error.problems:
                assert "\n" not in problem, problem
                name, _, told = problem.partition(": ")
                assert "hunter2" not in told, problem
                assert name.isprintable(), problem
            return "refused"
        shown = loaded.shown()
        assert "hunter2" not in shown["amqp_url"] + shown.get("sentry_dsn", "")
        return "accepted"

    yield feed


def _a_journal() -> bytes:
    """The file of a journal with tasks in hand, all of it written to the file itself."""
    with tempfile.TemporaryDirectory(dir=ROOM) as folder:
        path = Path(folder, "journal.db")
        with closing(Journal(path)) as journal:
            for number in range(5):
                task = a_task(f"token-{number}")
                journal.record(task, encode_task(task))
        return path.read_bytes()


@source((_a_journal(), b"", b"SQLite format 3\0"), words=(b"CREATE TABLE ", b"task"), share=1)
@contextmanager
def journal_files() -> Iterator[Feed]:
    """A journal's file: opened and used, renamed aside, or refused."""
    with tempfile.TemporaryDirectory(dir=ROOM) as folder, _watched():

        def feed(data: bytes) -> str:
            state = Path(folder, "state")
            shutil.rmtree(state, ignore_errors=True)
            state.mkdir()
            path = state / "journal.db"
            path.write_bytes(data)
            try:
                with closing(Journal(path, lock_timeout=0)) as journal:
                    return _use(journal, state)
            except ConfigError:
                return "refused"

        yield feed


def _use(journal: Journal, state: Path) -> str:
    task = a_task("token-new")
    journal.record(task, encode_task(task))
    for entry in journal.tasks():
        assert entry.task.token
    journal.settle(task.id)
    journal.flush()
    return "aside" if list(state.glob("*.corrupt-*")) else "opened"


@source(
    (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: SimpleWorkflowService."
        b"PollForActivityTask\r\nContent-Length: 48\r\n\r\n"
        b'{"domain": "demo", "taskList": {"name": "demo"}}',
        b"POST / HTTP/1.1\r\nX-Amz-Target: S.RespondActivityTaskCompleted\r\nContent-Length: 33"
        b'\r\n\r\n{"taskToken": "t", "result": "r"}',
        b"POST /local/submit HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 45\r\n"
        b'\r\n{"name": "n", "count": 2, "heartbeat": "NONE"}',
        b"GET /local/tasks?state=open HTTP/1.1\r\nOrigin: http://x\r\n\r\n",
    ),
    words=(
        b"X-Amz-Target: S.", b"Content-Length: ", b"\r\n\r\n", b"/local/", b"add-fault", b"clear",
        b"RecordActivityTaskHeartbeat", b"StartWorkflowExecution", b"Content-Type: text/plain",
        b'"taskToken":', b'"count":', b'"cancelAfter":', b"Transfer-Encoding: chunked\r\n",
    ),
    share=3,
)  # fmt: skip
@contextmanager
def local_swf() -> Iterator[Feed]:
    """A request to the local SWF, as it comes from the network; it must go on for others."""
    with ExitStack() as stack:
        swf = stack.enter_context(LocalSwf(hold=0.0))
        asked = 0

        def feed(data: bytes) -> str:
            nonlocal asked
            asked += 1
            host, _, port = swf.endpoint.removeprefix("http://").rpartition(":")
            with socket.create_connection((host, int(port)), 5) as theirs:
                theirs.settimeout(0.2)
                _send(theirs, data)
                answer = _received(theirs)
            if asked % 50 == 0:
                swf.options(hold=0.0, latency=0.0)
                swf.faults.clear()
                swf.clear()
            return answer[9:12].decode("latin-1") or "nothing"

        yield feed


@source(
    (
        b"answers: Value 'secret' at 'taskToken' failed to satisfy constraint",
        b"amqp://user:hunter2@host/%2F is away",
        b'{"taskToken": "AAAAKgAAAAIAAAAC", "input": {"a": [1, "b"]}, "result": \'x\'}',
        b"parameter result, value: x, type: <class 'bytes'>",
        b"password=hunter2\npassw: x\x1b[2J",
    ),
    words=(b"://", b"token", b"input", b"value '", b"' at '", b"password", b'\\"', b"result"),
    share=20,
)
@contextmanager
def texts() -> Iterator[Feed]:
    """Whatever a peer says, on its way into a log, a page or a terminal."""
    formats = (JsonFormatter(), JournaldFormatter(), TextFormatter(colour=True))

    def feed(data: bytes) -> str:
        text = data[:4096].decode("utf-8", "surrogateescape")
        redacted = redact(text)
        record = logging.makeLogRecord({"msg": text, "levelno": 20, "levelname": "INFO", "x": text})
        for each in formats:
            lines = each.format(record).removesuffix("\33[0m")
            assert lines.encode("utf-8", "backslashreplace")
            assert "\x1b[2J" not in lines
        assert printable(text).isprintable()
        return "redacted" if redacted != text else "as it was"

    yield feed

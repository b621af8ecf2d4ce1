"""`swf-bridge check --connect`: what it proves, what it leaves open, its exit code.

SWF is the local one, the owner of the credentials is told by moto's STS, RabbitMQ is real.
"""

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from moto.server import ThreadedMotoServer

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from tests import forked
from tests.acceptance.harness import settings
from tests.brokers import Vhost
from tests.worker import Worker

PASSWORD = "hunter2-of-the-check"
SHARED = (
    "exchange swf.activities",
    "exchange swf.cancellations",
    "exchange swf.replies.notices",
    "exchange swf.undeliverable",
    "queue swf.replies",
    "queue swf.replies.dead",
    "queue swf.undeliverable",
)
PERMISSIONS = (
    "declare queue swf.bridge.*",
    "publish to exchange swf.activities",
    "publish to exchange swf.cancellations",
    "publish to exchange swf.replies.notices",
    "publish to the default exchange",
    "bind queue swf.bridge.* to swf.replies.notices",
    "consume queue swf.replies",
    "consume queue swf.undeliverable",
    "consume queue swf.bridge.*",
    "consume queue swf.replies.dead, for swf-bridge dead",
)
NO_DEAD = r"^swf\.(?!replies\.dead$).*$"


class Told(NamedTuple):
    """What a run of the command printed, and how it ended."""

    code: int
    lines: list[str]

    def of(self, mark: str) -> list[str]:
        """The lines with this mark, without it."""
        return [line.removeprefix(f"{mark} ") for line in self.lines if line.startswith(f"{mark} ")]

    def of_broker(self, mark: str, url: str) -> str:
        """The one line about the broker itself."""
        begin = f"RabbitMQ at {url.rpartition('@')[2].partition('/')[0]}: "
        (line,) = [each for each in self.of(mark) if each.startswith(begin)]
        return line.removeprefix(begin)


Check = Callable[..., Told]


@pytest.fixture(scope="module")
def sts() -> Iterator[str]:
    """A service that tells whose credentials it was asked with."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def run(swf: LocalSwf, vhost: Vhost, tmp_path: Path, sts: str) -> Iterator[Check]:
    """Runs `check --connect` or another command; a check must take nothing and change nothing."""

    def stands() -> object:
        queues = vhost.api.call("GET", f"queues/{vhost.name}")
        exchanges = vhost.api.call("GET", f"exchanges/{vhost.name}")
        bindings = vhost.api.call("GET", f"bindings/{vhost.name}")
        return [sorted(map(repr, map(_lasting, each))) for each in (queues, exchanges, bindings)]

    def run(*command: str, **more: object) -> Told:
        given = settings(swf, vhost.url, tmp_path, **{"AWS_ENDPOINT_URL_STS": sts, **more})
        before = stands()
        ended = forked.run(
            ["-m", "bridge", *(command or ("check", "--connect"))],
            env={**forked.SHELL, **given},
            timeout=100,
        )
        assert ended.stderr == ""
        assert PASSWORD not in ended.stdout
        if not command:
            assert stands() == before, "it changed something in RabbitMQ"
        return Told(ended.returncode, ended.stdout.splitlines())

    yield run
    calls = {operation for operation, counts in swf.counts()["calls"].items() if counts}
    assert calls <= {"DescribeDomain"}, "check polled, or asked for more than the domain"


def _lasting(thing: Mapping[str, object]) -> Mapping[str, object]:
    """What does not change by itself in the next second."""
    known = ("name", "source", "destination", "routing_key", "arguments", "durable", "type")
    return {name: thing[name] for name in known if name in thing}


@pytest.fixture
def limited(vhost: Vhost) -> Iterator[Callable[..., str]]:
    """The URL of a user that has these permissions and no others."""
    user = f"user-{vhost.name}"
    vhost.api.add_user(user, PASSWORD)

    def limited(**permissions: str) -> str:
        given = {"configure": "^$", "write": "^$", "read": "^$", **permissions}
        vhost.api.set_permissions(user, vhost=vhost.name, **given)
        scheme, _, rest = vhost.url.partition("://")
        return f"{scheme}://{user}:{PASSWORD}@{rest.rpartition('@')[2]}"

    yield limited
    vhost.api.delete_user(user)


# --- everything stands ---


def test_where_everything_stands_each_thing_has_a_line_and_what_is_unproven_is_marked(
    run: Check, vhost: Vhost, swf: LocalSwf
) -> None:
    assert run("topology", "--apply").code == 0
    told = run()
    assert told.code == 0
    holds = told.of("✓")
    assert f"SWF: {swf.endpoint} in region eu-west-1" in holds
    assert "credentials: arn:aws:sts::123456789012:user/moto" in holds
    assert "domain demo: REGISTERED" in holds
    assert [line for line in holds if re.fullmatch(r"clock: \d s from that of SWF", line)]
    assert told.of_broker("✓", vhost.url).endswith(f", vhost {vhost.name}")
    assert {f"{each}: is there" for each in SHARED} <= set(holds)
    assert {f"permitted: {each}" for each in PERMISSIONS} <= set(holds)
    assert told.of("?") == [
        "task list demo/demo: whether it may be polled is not known, for a poll may be given a task"
        " and is not tried (swf-bridge status tells once the daemon runs); IAM does not tell"
        " (NoUserOrRole: arn:aws:sts::123456789012:user/moto is neither a user nor a role of IAM)",
        "binding of queue swf.undeliverable to exchange swf.undeliverable: AMQP cannot ask for it",
        "RabbitMQ: a publish is not tried; permissions by routing key stay unproven",
    ]
    assert told.of("✗") == told.of("!") == []


def test_messages_and_tasks_that_wait_are_left_as_they_are(
    run: Check, swf: LocalSwf, worker: Worker
) -> None:
    run("topology", "--apply")
    task_id = swf.submit()
    worker.queue()
    for queue in ("swf.replies", "swf.replies.dead", "swf.undeliverable"):
        worker.channel.basic_publish("", queue, b"a message")
    assert run().code == 0
    for queue in ("swf.replies", "swf.replies.dead", "swf.undeliverable"):
        taken = worker.take(queue)
        assert (taken.body, taken.redelivered) == (b"a message", False)
    assert worker.ready("work") == 0
    assert swf.task(task_id)["state"] == "scheduled"


def test_each_domain_is_looked_at_once_and_each_list_marked_as_not_polled(
    run: Check, swf: LocalSwf
) -> None:
    lists = '["one", "two", {"name": "three", "domain": "nowhere"}]'
    told = run(task_lists=lists)
    assert told.code == 78
    assert "domain nowhere: does not exist in region eu-west-1" in told.of("✗")
    polling = [line for line in told.of("?") if line.startswith("task list ")]
    assert len(polling) == 3
    assert sum(swf.counts()["calls"]["DescribeDomain"].values()) == 2


# --- Amazon SWF ---


def test_a_missing_permission_is_told_apart_from_absence_with_the_statement_that_allows_it(
    run: Check, swf: LocalSwf
) -> None:
    swf.faults.add("access-denied", operation="DescribeDomain")
    told = run()
    assert told.code == 0, "the daemon does not need it"
    (line,) = [each for each in told.of("?") if each.startswith("domain demo")]
    assert line == (
        "domain demo: may not be looked at (AccessDeniedException); this would allow it: "
        '{"Effect": "Allow", "Action": "swf:DescribeDomain", "Resource": '
        '"arn:aws:swf:eu-west-1:123456789012:/domain/demo"}'
    )


@pytest.mark.parametrize("fault", ["unavailable", "throttled", "internal", "garbage", "cut-before"])
def test_an_swf_that_does_not_answer_now_is_a_peer_that_is_unavailable(
    run: Check, swf: LocalSwf, fault: str
) -> None:
    swf.faults.add(fault, operation="DescribeDomain")
    told = run()
    assert told.code == 69
    (line,) = told.of("✗")
    assert line.startswith("domain demo: ")


def test_an_swf_that_cannot_be_reached_is_a_peer_that_is_unavailable(run: Check) -> None:
    told = run(AWS_ENDPOINT_URL_SWF=f"http://127.0.0.1:{free_ports(1)[0]}")
    assert told.code == 69
    assert told.of("✗")[0].startswith("domain demo: ")
    assert "clock: SWF did not tell its own" in told.of("?")


def test_credentials_that_are_not_there_are_a_matter_of_configuration(run: Check) -> None:
    nothing = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")
    told = run(**nothing, AWS_EC2_METADATA_DISABLED="true")
    assert told.code == 78
    assert told.of("✗") == ["credentials: none are found"]


@pytest.mark.parametrize("fault", ["unrecognized-client", "expired-token"])
def test_credentials_that_aws_does_not_take_are_a_matter_of_configuration(
    run: Check, swf: LocalSwf, fault: str
) -> None:
    swf.faults.add(fault, operation="DescribeDomain")
    told = run()
    assert told.code == 78
    assert "The security token included in the request" in told.of("✗")[0]


def test_whose_the_credentials_are_stays_unproven_where_nobody_tells(run: Check) -> None:
    told = run(AWS_ENDPOINT_URL_STS=f"http://127.0.0.1:{free_ports(1)[0]}")
    assert told.code == 0
    assert told.of("?")[0].startswith("credentials: whose they are is not known: ")


class _Late(BaseHTTPRequestHandler):
    """An SWF whose clock is another; it refuses who is too far from it, as AWS does."""

    skew: timedelta

    def do_POST(self) -> None:
        refused = self.skew > timedelta(minutes=5)
        body = b'{"domainInfo": {"name": "demo", "status": "REGISTERED"}, "configuration": {}}'
        if refused:
            body = b'{"__type": "x#InvalidSignatureException", "message": "Signature expired"}'
        self.send_response_only(400 if refused else 200)
        self.send_header("Date", format_datetime(datetime.now(UTC) + self.skew, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def answering(handler: type[_Late]) -> Iterator[str]:
    """The endpoint of an SWF; it ends with the test that asks it, also where that fails."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("seconds", "mark", "code"), [(10, "✓", 0), (120, "!", 0), (900, "✗", 78)])
def test_the_clock_is_compared_with_that_of_swf_also_where_it_refuses(
    run: Check, seconds: int, mark: str, code: int
) -> None:
    handler = type("Handler", (_Late,), {"skew": timedelta(seconds=seconds)})
    with answering(handler) as endpoint:
        told = run(AWS_ENDPOINT_URL_SWF=endpoint)
    assert told.code == code
    (line,) = [each for each in told.of(mark) if each.startswith("clock: ")]
    assert abs(int(line.split()[1]) - seconds) <= 20, "20 seconds for the process to start"


@pytest.mark.parametrize("date", ["soon", "", "Thu, 99 Jan 99999 00:00:00 GMT", "\x1b[31mnow\x9b"])
def test_a_date_that_is_none_leaves_the_clock_unproven(run: Check, date: str) -> None:
    class Garbled(_Late):
        skew = timedelta()

        def send_header(self, keyword: str, value: str) -> None:
            super().send_header(keyword, date if keyword == "Date" else value)

    with answering(Garbled) as endpoint:
        told = run(AWS_ENDPOINT_URL_SWF=endpoint)
    assert told.code == 0
    assert any(line.startswith("clock: SWF ") for line in told.of("?"))


# --- RabbitMQ ---


def test_what_is_missing_is_noted_where_the_bridge_declares_it_and_wrong_where_it_does_not(
    run: Check,
) -> None:
    told = run()
    assert told.code == 0
    noted = {f"{each}: is missing; the bridge declares it when it starts" for each in SHARED}
    assert set(told.of("!")) == noted
    told = run(declare="false")
    assert told.code == 78
    assert set(told.of("✗")) == {
        f"{each}: is missing, and SWF_BRIDGE_DECLARE is false" for each in SHARED
    }


@pytest.mark.parametrize(
    ("lacking", "code", "wrong"),
    [
        ({"configure": "^$"}, 78, {PERMISSIONS[0]}),
        ({"write": r"^(swf\.(?!cancel).*|amq\.default)$"}, 78, {PERMISSIONS[2]}),
        ({"write": r"^swf\..*$"}, 78, {PERMISSIONS[4]}),
        ({"write": r"^(swf\.[acr].*|amq\.default)$"}, 78, {PERMISSIONS[5]}),
        ({"read": r"^swf\.(?!replies$).*$"}, 78, {PERMISSIONS[6]}),
        ({"read": r"^swf\.(?!undeliverable$).*$"}, 78, {PERMISSIONS[7]}),
        ({"read": r"^swf\.[ru].*$"}, 78, {PERMISSIONS[8]}),
        ({"read": NO_DEAD}, 0, set()),
        ({"read": "^$"}, 78, {*PERMISSIONS[5:9]}),
        ({"write": "^$"}, 78, {*PERMISSIONS[1:6]}),
    ],
)
def test_a_permission_that_is_missing_is_named(
    run: Check,
    limited: Callable[..., str],
    lacking: Mapping[str, str],
    code: int,
    wrong: set[str],
) -> None:
    run("topology", "--apply")
    url = limited(**{"configure": ".*", "write": ".*", "read": ".*", **lacking})
    told = run(amqp_url=url)
    assert told.code == code
    assert {refused(line) for line in told.of("✗")} == wrong
    noted = {refused(line) for line in told.of("!")}
    assert noted == ({PERMISSIONS[9]} if lacking.get("read") in ("^$", NO_DEAD) else set())


def refused(line: str) -> str:
    """The permission that a line tells to be missing."""
    found = re.fullmatch(
        r"not permitted: (.+): ACCESS_REFUSED - (?:[a-z]+ )?access to .* refused for user '.*';"
        r" swf-bridge topology prints what is needed",
        line,
    )
    assert found, line
    return found[1]


def test_where_nothing_is_declared_the_permission_to_is_not_asked_for(
    run: Check, limited: Callable[..., str]
) -> None:
    run("topology", "--apply")
    told = run(amqp_url=limited(write=".*", read=".*"), declare="false")
    assert told.code == 0
    assert PERMISSIONS[0] not in "\n".join(told.lines)


def test_what_may_not_be_declared_fails_the_command_that_is_to_declare_it(
    run: Check, limited: Callable[..., str]
) -> None:
    told = run("topology", "--apply", amqp_url=limited(write=".*", read=".*"))
    assert told.code == 78
    for each in SHARED:
        (line,) = (line for line in told.of("✗") if line.startswith(f"{each} is missing: "))
        assert "; declaring it was refused: ACCESS_REFUSED - " in line


def test_what_stands_and_may_not_be_declared_is_noted_but_a_binding_that_is_refused_is_wrong(
    run: Check, limited: Callable[..., str]
) -> None:
    run("topology", "--apply")
    told = run("topology", "--apply", amqp_url=limited(write=r"^(?!swf\.undel)", read=".*"))
    refused = "declaring it was refused: ACCESS_REFUSED - "
    noted = {line.partition(refused)[0] for line in told.of("!")}
    assert noted == {f"{each}: is there; " for each in SHARED}
    (binding,) = told.of("✗")
    assert binding.startswith("binding of queue swf.undeliverable ")
    assert refused in binding
    assert told.code == 78


def test_a_queue_that_stands_with_other_arguments_is_noted(run: Check, worker: Worker) -> None:
    worker.queue("swf.replies", bind=None, max_length=1000)
    told = run("topology", "--apply")
    assert told.code == 0
    (differs,) = told.of("!")
    assert differs.startswith("queue swf.replies: is there; declaring it was refused: PRECONDITION")


def test_a_limit_of_the_vhost_fails_the_command_that_is_to_declare_its_queues(
    run: Check, vhost: Vhost
) -> None:
    vhost.api.call("PUT", f"vhost-limits/{vhost.name}/max-queues", {"value": 0})
    told = run("topology", "--apply")
    assert told.code == 78
    refused = [line for line in told.of("✗") if "refused: PRECONDITION_FAILED - " in line]
    assert {line.partition(" is missing")[0] for line in refused} == {
        each for each in SHARED if each.startswith("queue")
    }
    assert "exchange swf.activities: is there" in told.of("✓")


def test_a_login_or_a_vhost_that_rabbitmq_refuses_is_a_matter_of_configuration(
    run: Check, vhost: Vhost, limited: Callable[..., str]
) -> None:
    good = limited(write=".*", read=".*", configure=".*")
    wrong_password = good.replace(PASSWORD, f"{PASSWORD}-not")
    told = run(amqp_url=wrong_password)
    assert told.code == 78
    assert "ACCESS_REFUSED" in told.of_broker("✗", vhost.url)
    told = run(amqp_url=f"{vhost.url}-unknown")
    assert told.code == 78
    assert "vhost" in told.of_broker("✗", vhost.url)
    assert "not found" in told.of_broker("✗", vhost.url)


def hang_up_at(word: bytes, port: int) -> int:
    """A port that is RabbitMQ's until a client has sent the word: then both are hung up on."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on(source: socket.socket, sink: socket.socket, until: bytes) -> None:
        with suppress(OSError):
            while (data := source.recv(65536)) and (not until or until not in data):
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with (
            listener,
            listener.accept()[0] as client,
            socket.create_connection(("127.0.0.1", port)) as broker,
        ):
            back = Thread(target=pass_on, args=(broker, client, b""))
            back.start()
            pass_on(client, broker, word)
            back.join()

    Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def test_a_broker_that_is_lost_in_the_midst_of_the_check_is_told_and_no_success(
    run: Check, vhost: Vhost
) -> None:
    run("topology", "--apply")
    port = str(urlsplit(vhost.url).port)
    through = vhost.url.replace(port, str(hang_up_at(b"swf.undeliverable", int(port))), 1)
    told = run(amqp_url=through)
    assert told.code == 69
    assert told.of_broker("✗", through).startswith("lost before all was checked: ")
    assert "queue swf.replies: is there" in told.of("✓")


def test_a_broker_that_cannot_be_reached_is_a_peer_that_is_unavailable_and_the_others_are_told(
    run: Check, vhost: Vhost
) -> None:
    away = f"amqp://u:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}/v"
    told = run(amqp_url=f"{away},{vhost.url}")
    assert told.code == 69
    assert told.of_broker("✗", away) == "Connection refused"
    assert told.of_broker("✓", vhost.url)

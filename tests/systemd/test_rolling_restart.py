"""A new version without a gap: two bridges on one machine, restarted one after the other."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from tests.acceptance.echo import Echo
from tests.brokers import Vhost
from tests.processes import until
from tests.systemd.service import Service, Settings
from tests.worker import Worker

pytestmark = pytest.mark.timeout(300)
PEER = ("--peer", "2")
RATE = 20.0
LONGEST = 1.0
"""Seconds that a task may wait for its poll."""


class Load:
    """Submits so many tasks a second until the end of the block."""

    def __init__(self, swf: LocalSwf) -> None:
        self.ids: list[str] = []
        self._swf = swf
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._submit)

    def _submit(self) -> None:
        begun = time.monotonic()
        for number in itertools.count(1):
            self.ids.append(self._swf.submit("echo", input=str(number)))
            if self._stop.wait(max(0.0, begun + number / RATE - time.monotonic())):
                return

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def swf() -> Iterator[LocalSwf]:
    """An SWF that holds polls as long as the real one."""
    with LocalSwf(hold=60.0) as swf:
        yield swf


@pytest.fixture
def pair(service: Service, peer: Service, settings: Settings, vhost: Vhost) -> list[Service]:
    """A bridge with a peer that has no settings of its own, both polling."""
    service.configure(settings(amqp_url=vhost.url))
    for each in (service, peer):
        each.start()
        assert until(lambda each=each: each.show("StatusText")[0].startswith("2/2")), each.log
    return [service, peer]


def waits(swf: LocalSwf, ids: list[str]) -> list[float]:
    """Seconds for which each task waited for its poll; each was polled once, and completed."""
    tasks = [swf.task(each) for each in ids]
    assert {each["state"] for each in tasks} == {"completed"}
    assert {each["timeoutType"] for each in tasks} == {None}
    return sorted(each["startedAt"] - each["scheduledAt"] for each in tasks)


def test_of_two_that_are_restarted_one_after_the_other_no_task_waits_fails_or_is_lost(
    pair: list[Service], swf: LocalSwf, vhost: Vhost, worker: Worker
) -> None:
    with Echo(vhost.url), Load(swf) as load:
        assert until(lambda: len(load.ids) > 20)
        for _ in range(5):
            for each in reversed(pair):
                each.box.systemctl("restart", each.unit)
        done = len(load.ids)
        assert until(lambda: len(load.ids) > done + 20)
    with Echo(vhost.url):
        assert swf.wait_closed(load.ids, 20), [each.log for each in pair]
    found = waits(swf, load.ids)
    assert found[-1] < LONGEST, found[-20:]
    assert all(each.show("NRestarts", "Result") == ("0", "success") for each in pair)
    identities = {swf.task(each)["identity"] for each in load.ids}
    assert {each.split("@")[0] for each in identities} == {"swf-bridge", "swf-bridge-peer-2"}


def test_a_peer_is_added_to_a_bridge_that_runs_and_takes_nothing_from_it(
    service: Service, peer: Service, settings: Settings, swf: LocalSwf, vhost: Vhost, worker: Worker
) -> None:
    swf.options(hold=1.0)
    port, other = free_ports(2)
    service.configure(settings(amqp_url=vhost.url, http=f"127.0.0.1:{port}"))
    service.start()
    pid = service.pid
    peer.configure({"SWF_BRIDGE_HTTP": f"127.0.0.1:{other}"})
    peer.start()
    assert (service.pid, service.show("NRestarts")) == (pid, ("0",))
    told = [service.box.run("swf-bridge", "status", *args) for args in ((), PEER)]
    for each, pid in zip(told, (service.pid, peer.pid), strict=True):
        assert f"pid {pid}" in each.stdout
    peer.wait_told("status.listening")
    told = [service.box.run("swf-bridge", "config", *args) for args in (("--service",), PEER)]
    assert f"127.0.0.1:{port}" in told[0].stdout
    assert f"127.0.0.1:{other}" in told[1].stdout
    for each, folder in ((service, "swf-bridge"), (peer, "swf-bridge-peer/2")):
        assert each.box.path(f"/var/lib/private/{folder}/journal.db").stat().st_mode & 0o77 == 0
    box = service.box
    box.run("sh", "-ec", line_of("swf-bridge drain --peer 2"))
    assert peer.show("ActiveState", "Result") == ("inactive", "success")
    assert box.run("ls", "/var/lib/swf-bridge-peer/2/journal.db")
    assert service.show("ActiveState") == ("active",)


def test_the_drop_ins_of_the_first_are_copied_for_the_peer(service: Service, peer: Service) -> None:
    box, folder = service.box, "/etc/systemd/system"
    box.write(f"{folder}/swf-bridge.service.d/test.conf", "[Service]\nEnvironment=COPIED=1\n")
    box.run("sh", "-ec", line_of("cp -r "))
    box.systemctl("daemon-reload")
    assert "COPIED=1" in peer.show("Environment")[0]
    box.run("rm", "-r", f"{folder}/swf-bridge.service.d", f"{folder}/swf-bridge-peer@.service.d")


# --- the end ---


def test_drained_by_the_command_it_is_not_started_again_and_a_stop_afterwards_cuts_nothing(
    service: Service, settings: Settings, swf: LocalSwf, vhost: Vhost, worker: Worker
) -> None:
    service.configure(settings(amqp_url=vhost.url))
    service.drop_in("[Service]\nRestartSec=100ms\n")
    service.start()
    assert until(lambda: service.show("StatusText")[0].startswith("2/2")), service.log
    drain = threading.Thread(target=service.box.run, args=("swf-bridge", "drain"))
    drain.start()
    service.wait_told("daemon.draining")
    assert until(lambda: "draining: 2 open polls left" in service.show("StatusText")[0])
    service.box.systemctl("stop", "--no-block", service.unit)
    tasks = [swf.submit("echo") for _ in range(2)]
    drain.join(20)
    assert not drain.is_alive()
    service.wait(ActiveState="inactive", Result="success", ExecMainStatus="0", NRestarts="0")
    assert not service.told("daemon.left")
    sent = {each.properties.message_id for each in worker.take_many(2)}
    assert sent == {swf.task(each)["messageId"] for each in tasks}


# --- from swf-bridge.service to the template ---


def test_an_instance_of_the_template_beside_the_single_unit_is_refused_with_the_reason(
    service: Service,
    settings: Settings,
    instance: Callable[[str], Service],
    swf: LocalSwf,
    vhost: Vhost,
) -> None:
    swf.options(hold=1.0)
    service.configure(settings(amqp_url=vhost.url))
    service.start()
    blue = instance("blue")
    blue.configure(settings(amqp_url=vhost.url))
    done = blue.box.run("systemctl", "start", blue.unit, check=False)
    assert done.returncode != 0
    assert "Assertion failed" in done.stderr
    assert service.show("ActiveState") == ("active",)
    assert_check_tells(blue, "--instance", "blue")


def test_the_first_bridge_is_moved_into_the_template_with_what_it_has_in_hand(
    service: Service,
    settings: Settings,
    instance: Callable[[str], Service],
    swf: LocalSwf,
    vhost: Vhost,
    worker: Worker,
) -> None:
    swf.options(hold=1.0)
    service.configure(settings(amqp_url=vhost.url))
    service.start()
    worker.channel.queue_unbind("work", "swf.activities", "#")
    task_id = swf.submit("echo")
    service.wait_told("task.unroutable")
    blue = instance("blue")
    for line in moving_lines("blue"):
        service.box.run("sh", "-ec", line)
    assert blue.show("ActiveState") == ("active",), blue.log
    worker.queue()
    with Echo(vhost.url):
        assert swf.wait_closed(task_id, 20), blue.log
    assert swf.task(task_id)["state"] == "completed"


def test_the_last_instance_is_moved_back_into_the_single_unit_which_does_not_run_beside_it(
    service: Service,
    settings: Settings,
    instance: Callable[[str], Service],
    swf: LocalSwf,
    vhost: Vhost,
    worker: Worker,
) -> None:
    swf.options(hold=1.0)
    given = dict(settings(amqp_url=vhost.url, reply_queue="swf.replies"))
    blue = instance("blue")
    blue.configure(given)
    blue.start()
    task_id = swf.submit("echo")
    sent = worker.take()
    service.configure(given)
    done = service.box.run("systemctl", "start", service.unit, check=False)
    assert "Assertion failed" in done.stderr
    assert_check_tells(service, "--service")
    assert blue.show("ActiveState") == ("active",)
    service.box.run("rm", service.settings)
    for line in moving_lines("blue", block=2):
        service.box.run("sh", "-ec", line)
    assert service.show("ActiveState") == ("active",), service.log
    listed = service.box.run("swf-bridge", "tasks", "list").stdout
    assert sent.properties.message_id in listed
    worker.complete(sent)
    assert swf.wait_closed(task_id, 20), service.log


def assert_check_tells(service: Service, *which: str) -> None:
    """`swf-bridge check` names the assertion that fails, and the page that says more."""
    checked = service.box.run("swf-bridge", "check", *which, check=False)
    assert checked.returncode == 78
    assert f"✗ {service.unit} cannot be started by systemd: an assertion of it" in checked.stdout
    assert "AssertPathIsSymbolicLink=" in checked.stdout
    assert "docs/operations.md, From one account to several" in checked.stdout


PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def line_of(beginning: str) -> str:
    """The command in the page that begins so."""
    return next(each for each in PAGE.split("`") if each.startswith(beginning))


def moving_lines(name: str, block: int = 1) -> list[str]:
    """What docs/operations.md has an operator type, there (block 1) and back (2)."""
    section = PAGE.split("## From one account to several\n")[1]
    lines = section.split("```sh\n")[block].split("```")[0]
    return lines.replace("eu-west-1", name).strip().splitlines()

"""The life of the service in a real systemd, in the whole of its sandbox (contract §7)."""

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from tests.brokers import Vhost
from tests.envelopes import Sentry
from tests.processes import until
from tests.systemd.box import Box
from tests.systemd.service import Service, Settings
from tests.worker import Worker

SOON = "[Service]\nRestartSec=100ms\n"
HANG_ONCE = """\
import sys, threading
from pathlib import Path
from bridge import __main__
from bridge.threads import timer
from bridge.journal.journal import Journal

def wait_for_a_lock_that_nobody_gives_back(journal):
    marker = Path("/var/lib/swf-bridge/hung")
    if not marker.exists():
        marker.touch()
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

timer.PATIENCE = 1.0
Journal.flush = wait_for_a_lock_that_nobody_gives_back
sys.exit(__main__.main(["run"]))
"""


def nowhere() -> str:
    return f"amqp://127.0.0.1:{free_ports(1)[0]}"


def test_it_is_active_with_no_broker_and_its_status_says_so(
    service: Service, settings: Settings
) -> None:
    service.configure(settings(amqp_url=nowhere()))
    service.start()
    assert service.show("ActiveState", "SubState", "Type") == ("active", "running", "notify")
    assert until(lambda: "Connection refused" in service.show("StatusText")[0]), service.log
    assert service.show("StatusText")[0].startswith("0/2 pollers polling, 0 tasks in flight")
    service.stop()
    assert service.show("ActiveState", "Result", "ExecMainStatus") == ("inactive", "success", "0")


def test_it_is_active_only_once_its_threads_stand(service: Service, settings: Settings) -> None:
    service.configure(settings(amqp_url=nowhere()))
    # With boto3 each poller has a thread.
    service.drop_in("[Service]\nEnvironment=SWF_BRIDGE_POLLERS=40 SWF_BRIDGE_SWF_CLIENT=boto3\n")
    service.start()
    tasks = service.box.path(f"/proc/{service.pid}/task")
    assert len(list(tasks.iterdir())) >= 40 + 8
    assert service.told("daemon.started")


def test_a_task_makes_its_round_trip_in_the_whole_sandbox(
    service: Service, settings: Settings, swf: LocalSwf, vhost: Vhost, worker: Worker
) -> None:
    service.configure(settings(amqp_url=vhost.url))
    service.start()
    task_id = swf.submit("greet", input="hello")
    worker.complete(worker.take(), "hello yourself")
    assert swf.wait_closed(task_id, 10), service.log
    assert swf.task(task_id, payload=True)["result"] == "hello yourself"
    assert until(lambda: service.show("StatusText")[0].startswith("2/2 pollers polling, 0 tasks"))
    status = json.loads(service.box.run("swf-bridge", "status", "--json").stdout)
    assert (status["state"], str(status["pid"])) == ("running", service.pid)
    process = service.box.path(f"/proc/{service.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in process
    assert "Seccomp:\t2" in process
    assert "CapEff:\t0000000000000000" in process
    assert not process.partition("Uid:\t")[2].startswith("0\t")
    journal = service.box.path("/var/lib/swf-bridge/journal.db").stat()
    assert (journal.st_mode & 0o777, journal.st_uid != 0) == (0o600, True)


def test_a_stop_lets_the_open_poll_end_and_hands_its_task_on(
    service: Service, settings: Settings, swf: LocalSwf, vhost: Vhost, worker: Worker
) -> None:
    swf.options(hold=30.0)
    service.configure(settings(amqp_url=vhost.url, pollers=1))
    service.start()
    assert until(lambda: service.show("StatusText")[0].startswith("1/1 pollers")), service.log
    service.box.systemctl("stop", "--no-block", service.unit)
    service.wait_told("daemon.draining")
    service.wait(ActiveState="deactivating")
    swf.submit("greet", input="in the open poll")
    assert worker.take().json["input"] == "in the open poll"
    service.wait(ActiveState="inactive", Result="success", ExecMainStatus="0", NRestarts="0")


def test_killed_it_comes_back_and_has_lost_nothing(
    service: Service, settings: Settings, swf: LocalSwf, vhost: Vhost, worker: Worker
) -> None:
    # RabbitMQ has no queue for these: they stand in the journal when the process dies.
    worker.channel.queue_unbind("work", "swf.activities", "#")
    service.configure(settings(amqp_url=vhost.url, unroutable_timeout=600))
    service.drop_in(SOON)
    service.start()
    ids = [swf.submit("greet", input=str(number)) for number in range(20)]
    assert until(lambda: not swf.tasks(state="scheduled")), service.log
    service.box.systemctl("kill", "--signal=KILL", service.unit)
    service.wait(ActiveState="active", NRestarts="1")
    worker.channel.queue_bind("work", "swf.activities", "#")
    for task in worker.take_many(len(ids)):
        worker.complete(task)
    assert swf.wait_closed(ids, 15), service.log
    assert {swf.task(each)["state"] for each in ids} == {"completed"}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ("Environment=SWF_BRIDGE_TASK_LISTS=", "78"),
        ("ExecStart=\nExecStart=/bin/sh -c 'exit 64'", "64"),
    ],
    ids=["settings", "arguments"],
)
def test_what_a_person_has_to_mend_is_not_tried_again(
    service: Service, settings: Settings, wrong: str, code: str
) -> None:
    given = dict(settings(amqp_url=nowhere()))
    del given["SWF_BRIDGE_TASK_LISTS"]
    service.configure(given)
    service.drop_in(f"{SOON}{wrong}\n")
    service.start(fails=True)
    service.wait(ActiveState="failed", SubState="failed", ExecMainStatus=code, NRestarts="0")


def test_wrong_settings_are_errors_in_the_journal(service: Service, settings: Settings) -> None:
    service.configure(settings(amqp_url=nowhere(), pollers="many"))
    service.start(fails=True)
    (told,) = service.entries("_COMM=swf-bridge")
    assert told["MESSAGE"].startswith("SWF_BRIDGE_POLLERS: must be a whole number")
    assert told["PRIORITY"] == "3"


def test_a_stuck_thread_is_found_its_stack_told_and_the_service_started_again(
    service: Service, settings: Settings, swf: LocalSwf, vhost: Vhost, worker: Worker
) -> None:
    service.configure(settings(amqp_url=vhost.url))
    service.box.write("/etc/hang-once.py", HANG_ONCE)
    service.drop_in(
        f"{SOON}WatchdogSec=3\nTimeoutStartSec=20\nExecStart=\n"
        "ExecStart=/opt/swf-bridge/bin/python /etc/hang-once.py\n"
    )
    service.start()
    service.wait(20, ActiveState="active", NRestarts="1")
    assert "Watchdog timeout" in service.log
    assert "Fatal Python error: Aborted" in service.log
    # Of many lines at once the last may stand in the journal after the new start.
    stuck = "in wait_for_a_lock_that_nobody_gives_back"
    assert until(lambda: stuck in service.log), service.log
    stacks = "most recent call first"
    assert until(lambda: service.log.count(stacks) >= 9), "every thread has its stack"
    swf.submit("greet")
    assert worker.take()
    assert service.show("NRestarts", "ActiveState") == ("1", "active")


def test_the_journal_has_a_priority_for_each_line(
    service: Service, settings: Settings, vhost: Vhost, swf: LocalSwf, worker: Worker
) -> None:
    service.configure(
        settings(amqp_url=f"{nowhere()},{vhost.url}", amqp_shuffle="false", log_level="DEBUG")
    )
    service.start()
    service.wait_told("broker.connected", count=2)
    assert {each["PRIORITY"] for each in service.told("broker.lost")} == {"4"}
    assert {each["PRIORITY"] for each in service.told("broker.connected")} == {"6"}
    swf.submit("greet")
    worker.send({"taskToken": "forged", "status": "completed"})
    assert service.wait_told("task.polled")["PRIORITY"] == "7"
    service.wait_told("reply.dead_lettered")
    warnings = service.entries("--priority=warning", "_COMM=swf-bridge")
    assert warnings
    events = {str(each["MESSAGE"]).partition(" ")[0] for each in warnings}
    assert events == {"broker.lost", "reply.dead_lettered"}


# --- credentials ---

PASSWORD = "p:a/s%s@w#rd"
CREDENTIALS = """\
[Service]
LoadCredential=swf_bridge_amqp_url:/etc/swf-bridge/amqp_url
LoadCredential=swf_bridge_sentry_dsn:/etc/swf-bridge/sentry_dsn
"""


@pytest.fixture
def secrets(box: Box, vhost: Vhost) -> Iterator[Sentry]:
    """A password that only the credential holds, and a Sentry that only the other one names."""
    vhost.api.add_user("bridge", PASSWORD)
    vhost.api.set_permissions("bridge", vhost=vhost.name)
    host = vhost.url.rpartition("@")[2]
    with Sentry() as sentry:
        box.write(
            "/etc/swf-bridge/amqp_url", f"amqp://bridge:{quote(PASSWORD, safe='')}@{host}\n", 0o600
        )
        box.write("/etc/swf-bridge/sentry_dsn", f"{sentry.dsn}\n", 0o600)
        yield sentry
    box.run("rm", "/etc/swf-bridge/amqp_url", "/etc/swf-bridge/sentry_dsn")
    vhost.api.delete_user("bridge")


def assert_credentials_work(
    service: Service, swf: LocalSwf, worker: Worker, sentry: Sentry
) -> None:
    swf.submit("greet")
    worker.complete(worker.take())
    assert until(lambda: bool(sentry.transactions)), service.log
    environ = service.box.path(f"/proc/{service.pid}/environ").read_text()
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in service.log
        assert secret not in environ


def test_credentials_are_read_from_where_systemd_puts_them(
    service: Service, settings: Settings, swf: LocalSwf, worker: Worker, secrets: Sentry
) -> None:
    service.configure(settings(sentry_traces_sample_rate=1))
    service.drop_in(CREDENTIALS)
    service.start()
    assert_credentials_work(service, swf, worker, secrets)
    folder = service.box.path("/run/credentials/swf-bridge.service")
    uid = service.box.path(f"/proc/{service.pid}").stat().st_uid
    # As in 252, or as in 257, where the user has an entry of its own.
    assert layout(folder / "swf_bridge_amqp_url") in {(0o400, uid, False), (0o440, 0, True)}
    assert layout(folder / "swf_bridge_sentry_dsn") == layout(folder / "swf_bridge_amqp_url")
    service.stop()
    assert not service.box.path("/run/credentials/swf-bridge.service").exists()


def test_credentials_as_systemd_257_lays_them_out_are_read_too(
    service: Service, settings: Settings, swf: LocalSwf, worker: Worker, secrets: Sentry
) -> None:
    """0440 root:root with an entry for the service's user, where 252 gave that user the file."""
    service.configure(settings(sentry_traces_sample_rate=1))
    service.drop_in("[Service]\nEnvironment=CREDENTIALS_DIRECTORY=/run/as-in-257\n")
    # The dynamic user is made of the unit's name: the same as in a start that fails.
    service.start()
    uid = service.box.path(f"/proc/{service.pid}").stat().st_uid
    service.stop()
    for name in ("amqp_url", "sentry_dsn"):
        text = service.box.path(f"/etc/swf-bridge/{name}").read_text()
        service.box.write(f"/run/as-in-257/swf_bridge_{name}", text)
        allow(service.box.path(f"/run/as-in-257/swf_bridge_{name}"), uid, READ)
        assert layout(service.box.path(f"/run/as-in-257/swf_bridge_{name}")) == (0o440, 0, True)
    allow(service.box.path("/run/as-in-257"), uid, READ | SEARCH)
    service.start()
    assert_credentials_work(service, swf, worker, secrets)


def test_credentials_as_systemd_252_lays_them_out_are_read_too(
    service: Service, settings: Settings, swf: LocalSwf, worker: Worker, secrets: Sentry
) -> None:
    """0400 and the service's user's own, whatever the systemd that is here does."""
    service.configure(settings(sentry_traces_sample_rate=1))
    service.drop_in("[Service]\nEnvironment=CREDENTIALS_DIRECTORY=/run/as-in-252\n")
    service.start()
    uid = service.box.path(f"/proc/{service.pid}").stat().st_uid
    service.stop()
    for name in ("amqp_url", "sentry_dsn"):
        path = service.box.path(f"/run/as-in-252/swf_bridge_{name}")
        text = service.box.path(f"/etc/swf-bridge/{name}").read_text()
        service.box.write(f"/run/as-in-252/swf_bridge_{name}", text, 0o400)
        os.chown(path, uid, uid)
        assert layout(path) == (0o400, uid, False)
    path.parent.chmod(0o500)
    os.chown(path.parent, uid, uid)
    service.start()
    assert_credentials_work(service, swf, worker, secrets)


def layout(path: Path) -> tuple[int, int, bool]:
    """Mode and owner of a credential, and whether it has an entry for another user."""
    stat = path.stat()
    return stat.st_mode & 0o777, stat.st_uid, "system.posix_acl_access" in os.listxattr(path)


READ, SEARCH = 4, 1


def allow(path: Path, uid: int, bits: int) -> None:
    """The user, root and root's group may; nobody else (acl(5), as the kernel has it)."""
    user_obj, user, group_obj, mask, other, nobody = 0x01, 0x02, 0x04, 0x10, 0x20, 0xFFFFFFFF
    entries = [
        (user_obj, bits, nobody),
        (user, bits, uid),
        (group_obj, bits, nobody),
        (mask, bits, nobody),
        (other, 0, nobody),
    ]
    packed = b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + packed)


# --- the template ---


def test_two_instances_live_side_by_side_and_share_nothing(
    instance: Callable[[str], Service], settings: Settings, vhost: Vhost, worker: Worker
) -> None:
    regions = ("eu-west-1", "us-east-1")
    with LocalSwf(hold=1.0) as europe, LocalSwf(hold=1.0) as america:
        services = {name: instance(name) for name in regions}
        for service, swf in zip(services.values(), (europe, america), strict=True):
            service.configure(settings(swf, amqp_url=vhost.url))
            service.start()
        for name, swf in zip(regions, (europe, america), strict=True):
            task_id = swf.submit("greet")
            task = worker.take()
            assert task.properties.reply_to == f"swf.replies.{name}"
            worker.send(
                {"taskToken": task.json["taskToken"], "status": "completed"},
                to=task.properties.reply_to,
            )
            assert swf.wait_closed(task_id, 10), services[name].log
        assert not worker.exists("swf.replies")
        for name, other in (regions, regions[::-1]):
            root = f"/proc/{services[name].pid}/root"
            for folder in ("/var/lib/private/swf-bridge", "/run/private/swf-bridge"):
                own = services[name].box.run("ls", f"{root}{folder}").stdout.split()
                assert own == [name], f"{name} sees {own}, {other} is none of its business"
            told = services[name].box.run("swf-bridge", "status", "--json", "--instance", name)
            assert str(json.loads(told.stdout)["pid"]) == services[name].pid
        assert all(service.show("NRestarts") == ("0",) for service in services.values())

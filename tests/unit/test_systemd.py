import contextlib
import os
import socket
from time import monotonic

import pytest

from bridge.telemetry.systemd import SEND_TIMEOUT, Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager's socket, and its address as $NOTIFY_SOCKET gives it."""
    name = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name if request.param == "abstract" else name)
        sock.settimeout(5)
        yield sock, "@" + name if request.param == "abstract" else name


def test_each_word_reaches_the_manager_as_sd_notify_writes_it(manager):
    sock, address = manager
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.status("2 of 2 pollers,\nbroker away é")
    notifier.watchdog()
    notifier.extend_timeout(1.5)
    notifier.stopping()
    assert [sock.recv(4096).decode() for _ in range(5)] == [
        "READY=1",
        "STATUS=2 of 2 pollers, broker away é",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STOPPING=1",
    ]


def test_children_inherit_none_of_it():
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    Notifier.from_environment(environ)
    assert environ == {"HOME": "/"}


def test_without_a_manager_nothing_happens():
    notifier = Notifier.from_environment({})
    notifier.ready()
    notifier.status("fine")
    assert notifier.watchdog_seconds is None


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody-listens", "x" * 300, "a\0b", "@"])
def test_a_manager_that_cannot_be_told_is_no_reason_to_stop(address):
    Notifier(address).ready()


def test_a_status_with_a_lone_surrogate_is_still_sent(manager):
    sock, address = manager
    Notifier(address).status("queue \ud800")
    assert sock.recv(4096) == b"STATUS=queue \\ud800"


def test_a_status_is_redacted_and_escaped_as_a_log_line_is(manager):
    sock, address = manager
    token = "AAAAKgAAAAIAAAAAAAAAA" + "aB3" * 40
    said = f"answers: Value '{token}' at 'taskToken': \x1b[2J \u202etxt \nWATCHDOG=1 {token}"
    Notifier(address).status(said)
    told = sock.recv(4096).decode()
    assert token[:30] not in told
    assert told.isprintable()
    assert told.startswith("STATUS=answers: Value '[redacted]' at 'taskToken'")


def test_a_status_fits_into_what_systemd_reads_of_a_message(manager):
    sock, address = manager
    Notifier(address).status("\U0001d11e\x1b" * 5000)
    assert len(sock.recv(100_000)) < 4096


@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_a_manager_that_does_not_read_holds_nobody_up_for_long(manager):
    _, address = manager
    fill(address)
    began = monotonic()
    Notifier(address).watchdog()
    assert SEND_TIMEOUT * 0.9 < monotonic() - began < SEND_TIMEOUT + 4


def fill(address):
    target = "\0" + address[1:] if address[0] == "@" else address
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        contextlib.suppress(BlockingIOError),
    ):
        sock.setblocking(False)
        while True:
            sock.sendto(b"x", target)


@pytest.mark.parametrize(
    ("pid", "seconds"),
    [(None, 30.0), (str(os.getpid()), 30.0), ("1", None)],
    ids=["any process", "this process", "another process"],
)
def test_the_watchdog_is_ours_where_its_pid_is_ours_or_none(pid, seconds):
    environ = {"WATCHDOG_USEC": "30000000"}
    if pid is not None:
        environ["WATCHDOG_PID"] = pid
    assert Notifier.from_environment(environ).watchdog_seconds == seconds


@pytest.mark.parametrize("usec", ["", "0", "soon", "-5"])
def test_a_watchdog_without_a_period_is_none(usec):
    assert Notifier.from_environment({"WATCHDOG_USEC": usec}).watchdog_seconds is None

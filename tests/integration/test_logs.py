import json
import logging
import os
import pty
import socket
import subprocess
import sys
import textwrap

import pytest

from bridge.telemetry.redact import MARK

PROLOGUE = """
import logging, sys, os, threading
from bridge.telemetry.logs import configure_logging
from bridge.telemetry.redact import register_secret
log = logging.getLogger("bridge.flow.poller")
"""


def run(code, *, env=None, **options):
    """Run ``code`` in a process of its own, as logging belongs to the process."""
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.run(
        [sys.executable, "-c", PROLOGUE + textwrap.dedent(code)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), **(env or {})},
        timeout=30,
        check=False,
        **options,
    )


def lines(code, **options):
    return run(code, **options).stderr.decode().splitlines()


def test_json_is_one_object_a_line_with_event_and_fields():
    (line,) = lines(
        """
        configure_logging("INFO", "json")
        log.info("task.published", extra={"task": "17", "seconds": 0.25, "key": "a\\n\\ud800b"})
        """
    )
    told = json.loads(line)
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "info",
        "event": "task.published",
        "logger": "bridge.flow.poller",
        "thread": "MainThread",
        "task": "17",
        "seconds": 0.25,
        "key": "a\n\ud800b",
    }


def test_a_field_never_hides_what_every_line_has():
    (line,) = lines(
        """
        configure_logging("INFO", "json")
        log.info("task.published", extra={"event": "forged", "level": "none"})
        """
    )
    told = json.loads(line)
    assert (told["event"], told["level"]) == ("task.published", "info")
    assert (told["event_"], told["level_"]) == ("forged", "none")


def test_journald_reads_a_priority_off_every_line_of_a_traceback():
    told = lines(
        """
        configure_logging("DEBUG", "journald")
        log.debug("a.debugged"); log.info("b.informed"); log.warning("c.warned")
        try:
            raise ValueError("two\\nlines")
        except ValueError:
            log.exception("d.failed")
        log.critical("e.ended")
        """
    )
    assert [line[:3] for line in told[:3]] == ["<7>", "<6>", "<4>"]
    assert "Traceback (most recent call last):" in told[4]
    assert {line[:3] for line in told[3:-1]} == {"<3>"}
    assert told[-1] == "<2>e.ended thread=MainThread"


def test_text_is_one_aligned_line_without_colour_off_a_terminal():
    (line,) = lines(
        """
        configure_logging("INFO", "text")
        log.warning("poll.refused", extra={"task_list": "my list", "count": 2, "reason": ""})
        """
    )
    time, rest = line.split(" ", 1)
    assert len(time) == len("08:42:00.123")
    assert rest == f'{"WARNING":<8} {"poll.refused":<24} task_list="my list" count=2 reason=""'


@pytest.mark.parametrize("style", ["text", "journald", "json"])
def test_a_name_can_forge_no_line_and_no_terminal_command(style):
    told = lines(
        f"""
        configure_logging("INFO", "{style}")
        log.info("task.polled", extra={{"activity": "x\\n<0>panic \\33[2J\\x9b2J\\u2028y"}})
        """
    )
    assert len(told) == 1
    assert told[0].isprintable()


def on_a_terminal(env):
    master, slave = pty.openpty()
    try:
        run('configure_logging(); log.warning("a.warned")', stderr=slave, env=env)
        return os.read(master, 4096).decode()
    finally:
        os.close(master)
        os.close(slave)


def test_auto_is_coloured_text_on_a_terminal():
    told = on_a_terminal({})
    assert "\33[33m" in told
    assert "WARNING" in told


def test_no_color_is_respected():
    told = on_a_terminal({"NO_COLOR": "1"})
    assert "\33" not in told
    assert "WARNING" in told


def test_auto_is_json_in_a_pipe():
    (line,) = lines('configure_logging(); log.info("a.said")')
    assert json.loads(line)["event"] == "a.said"


def test_auto_is_journald_where_the_stream_is_the_journals():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stat = os.fstat(theirs.fileno())
        env = {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"}
        run('configure_logging(); log.info("a.said")', stderr=theirs.fileno(), env=env)
        assert ours.recv(4096) == b"<6>a.said thread=MainThread\n"


def test_a_stream_that_was_redirected_away_from_the_journal_gets_no_priorities():
    (line,) = lines('configure_logging(); log.info("a.said")', env={"JOURNAL_STREAM": "8:12345678"})
    assert line.startswith("{")


@pytest.mark.parametrize("style", ["text", "journald", "json"])
def test_no_secret_passes_in_message_field_or_traceback(style):
    result = run(
        f"""
        configure_logging("DEBUG", "{style}")
        register_secret("hunter2")
        log.info("said hunter2", extra={{"peer": "amqp://u:swordfish@h", "taskToken": "Tok3n"}})
        try:
            try:
                raise KeyError({{"input": "Paylo4d"}})
            except KeyError as error:
                raise ConnectionError("amqp://u:swordfish@h hunter2") from error
        except ConnectionError:
            log.exception("peer.lost")
        """
    )
    told = result.stderr.decode()
    assert "peer.lost" in told
    assert "ConnectionError" in told
    assert told.count(MARK) >= 5
    assert not any(each in told for each in ("hunter2", "swordfish", "Tok3n", "Paylo4d"))


def test_botocore_and_pika_quote_nothing_at_debug():
    told = lines(
        """
        configure_logging("DEBUG", "text")
        import botocore.session, pika
        from botocore.config import Config
        swf = botocore.session.get_session().create_client(
            "swf", region_name="eu-west-1", endpoint_url="http://127.0.0.1:9",
            aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="S3cret",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=1))
        try:
            swf.respond_activity_task_completed(taskToken="Tok3n", result="Paylo4d")
        except Exception:
            log.exception("swf.failed")
        connection = pika.SelectConnection(
            pika.URLParameters("amqp://u:swordfish@127.0.0.1:9/?connection_attempts=1"),
            on_open_error_callback=lambda c, e: c.ioloop.stop())
        connection.ioloop.start()
        log.debug("all.done")
        """
    )
    text = "\n".join(told)
    assert "swf.failed" in text
    assert "all.done" in text
    assert not any(each in text for each in ("Tok3n", "Paylo4d", "S3cret", "swordfish", "pika"))
    assert sum(not line.startswith((" ", "Traceback")) and ":" in line[:9] for line in told) == 2


def test_warnings_of_foreign_libraries_are_heard():
    told = lines(
        """
        configure_logging("ERROR", "text")
        logging.getLogger("urllib3").warning("not at ERROR")
        configure_logging("DEBUG", "text")
        logging.getLogger("urllib3").warning("pool is full: %s", 10)
        logging.getLogger("urllib3").info("not below WARNING")
        logging.getLogger("urllib3").warning("%d does not fit", "this")
        import warnings; warnings.warn("an old call")
        """
    )
    assert [line.split()[2:4] for line in told] == [
        ["pool", "is"],
        ["%d", "does"],
        ["<string>:13:", "UserWarning:"],
    ]


def test_what_nobody_caught_ends_in_the_log_wherever_it_was_raised():
    told = [
        json.loads(line)
        for line in lines(
            """
            configure_logging("INFO", "json")
            def fail(): raise ValueError("in a thread")
            thread = threading.Thread(target=fail, name="poller 1")
            thread.start(); thread.join()
            class Lost:
                def __del__(self): raise ValueError("in a finaliser")
            Lost()
            raise ValueError("in main")
            """
        )
    ]
    assert [(each["event"], each["level"]) for each in told] == [
        ("exception.uncaught", "critical"),
        ("exception.unraisable", "error"),
        ("exception.uncaught", "critical"),
    ]
    assert told[0]["where"] == "poller 1"
    assert [each["exception"].splitlines()[-1] for each in told] == [
        "ValueError: in a thread",
        "ValueError: in a finaliser",
        "ValueError: in main",
    ]


def test_a_reader_that_went_away_stops_nobody():
    read, write = os.pipe()
    os.close(read)
    result = run(
        """
        configure_logging("INFO", "json")
        for _ in range(3): log.warning("nobody.listens")
        print("alive")
        """,
        stderr=write,
        stdout=subprocess.PIPE,
    )
    os.close(write)
    assert (result.returncode, result.stdout) == (0, b"alive\n")


STANDING_STILL = """
        import time
        from bridge.telemetry import stderr
        stderr.KEPT, stderr.FLUSH_TIMEOUT = 20_000, 0.5
        configure_logging("DEBUG", "json")
        began = time.monotonic()
        for number in range(5000): log.info("a.said", extra={"number": number})
        for number in range(20): log.error("a.failed", extra={"number": number})
        print(time.monotonic() - began < 5, flush=True)
"""


def test_a_reader_that_stands_still_blocks_nobody_nor_the_end():
    read, write = os.pipe()
    try:
        result = run(STANDING_STILL, stderr=write, stdout=subprocess.PIPE)
    finally:
        os.close(read)
        os.close(write)
    assert (result.returncode, result.stdout) == (0, b"True\n")


@pytest.mark.parametrize("nonblocking", [False, True])
def test_what_was_dropped_is_told_once_the_reader_goes_on_and_what_is_grave_is_kept(nonblocking):
    read, write = os.pipe()
    os.set_blocking(write, not nonblocking)  # as a shell or a sibling may have left the stream
    code = (
        STANDING_STILL
        + """
        from bridge.telemetry.logs import dropped
        sys.stdin.read()
        logging.getLogger().handlers[0].flush()
        log.info("b.said", extra={"dropped": dropped()})
"""
    )
    process = subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + textwrap.dedent(code)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=write,
    )
    os.close(write)
    assert process.stdout.readline() == b"True\n"
    process.stdin.close()
    with open(read, "rb") as stream:
        told = [json.loads(line) for line in stream]
    process.stdout.close()
    process.wait()
    said = [each["number"] for each in told if each["event"] == "a.said"]
    assert said == sorted(set(said))
    assert [each["number"] for each in told if each["event"] == "a.failed"] == list(range(20))
    lost = sum(each["count"] for each in told if each["event"] == "log.dropped")
    assert lost == 5000 - len(said)
    assert (told[-1]["event"], told[-1]["dropped"]) == ("b.said", lost)


def test_a_crash_tells_its_traceback_last():
    told = lines(
        """
        configure_logging("INFO", "json")
        for _ in range(500): log.info("a.said")
        raise ValueError("at the end")
        """
    )
    assert len(told) == 501
    assert "ValueError: at the end" in json.loads(told[-1])["exception"]


def test_a_child_that_was_forked_is_heard_too():
    told = lines(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads
        configure_logging("INFO", "json")
        log.info("a.said")
        child = os.fork()
        log.info("b.said")
        logging.shutdown()
        if child: os.waitpid(child, 0)
        os._exit(0)
        """
    )
    assert sorted(json.loads(line)["event"] for line in told) == ["a.said", "b.said", "b.said"]


def test_a_closed_standard_error_stops_nobody():
    code = 'configure_logging(); log.warning("nobody.listens"); print("alive")'
    result = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, PROLOGUE + code],
        stdout=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, b"alive\n")


def test_a_very_long_value_is_cut():
    (line,) = lines(
        """
        configure_logging("INFO", "json")
        log.info("a.said", extra={"key": "k" * 40000})
        """
    )
    assert len(line) < 3000


def test_lines_of_many_threads_do_not_mix():
    told = lines(
        """
        configure_logging("INFO", "json")
        def speak():
            for _ in range(200): log.info("a.said", extra={"key": "k" * 500})
        threads = [threading.Thread(target=speak) for _ in range(4)]
        for each in threads: each.start()
        for each in threads: each.join()
        """
    )
    assert len(told) == 800
    assert {json.loads(line)["event"] for line in told} == {"a.said"}


def test_configuring_twice_doubles_no_line():
    code = 'configure_logging(); configure_logging("INFO", "text"); log.info("a.said")'
    assert len(lines(code)) == 1


@pytest.fixture(autouse=True)
def _leave_logging_alone():
    before = logging.getLogger().handlers[:]
    yield
    assert logging.getLogger().handlers == before

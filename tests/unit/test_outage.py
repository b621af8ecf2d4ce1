import logging
from threading import Barrier, Thread

import pytest

from bridge.telemetry.outage import Outage

log = logging.getLogger("tests.outage")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outage(clock, caplog):
    caplog.set_level(logging.INFO)
    return Outage(log, "broker.lost", "broker.back", clock=clock, peer="rabbit")


def events(caplog):
    return [record.message for record in caplog.records]


def test_a_loss_is_logged_once_however_often_it_is_tried(outage, clock, caplog):
    for _ in range(500):
        outage.begin(ConnectionRefusedError("refused"))
        clock.now += 1
    assert events(caplog) == ["broker.lost"]
    assert caplog.records[0].peer == "rabbit"
    assert caplog.records[0].error == "refused"


def test_the_return_tells_how_long_it_took_and_how_many_tries(outage, clock, caplog):
    for _ in range(3):
        outage.begin("away")
        clock.now += 20
    assert outage.end() == 60
    assert events(caplog) == ["broker.lost", "broker.back"]
    back = caplog.records[1]
    assert (back.seconds, back.count, back.levelname) == (60, 3, "INFO")


def test_success_without_a_loss_says_nothing(outage, caplog):
    assert outage.end() is None
    assert events(caplog) == []


def test_a_peer_that_flaps_does_not_flood_the_log(outage, clock, caplog):
    for _ in range(300):
        outage.begin("away")
        clock.now += 0.1
        outage.end()
        clock.now += 0.1
    assert events(caplog) == ["broker.lost", "broker.back"] * 2


def test_a_loss_soon_after_another_is_logged_once_it_lasts(outage, clock, caplog):
    outage.begin("blip")
    outage.end()
    clock.now += 1
    for _ in range(60):
        outage.begin("down")
        clock.now += 1
    outage.end()
    assert events(caplog) == ["broker.lost", "broker.back"] * 2
    assert caplog.records[2].error == "down"
    assert caplog.records[3].seconds == 60


def test_it_can_be_asked_what_is_wrong_and_for_how_long(outage, clock):
    assert (outage.error, outage.seconds) == ("", 0)
    outage.begin(TimeoutError())
    clock.now += 5
    assert (outage.error, outage.seconds) == ("TimeoutError", 5)
    outage.end()
    assert (outage.error, outage.seconds) == ("", 0)


def test_many_threads_that_fail_at_once_give_one_line(outage, caplog):
    barrier = Barrier(20)

    def fail():
        barrier.wait()
        outage.begin("away")

    threads = [Thread(target=fail) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert events(caplog) == ["broker.lost"]

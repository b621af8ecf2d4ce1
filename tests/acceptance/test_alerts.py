"""Each alert of `config/alerts.yml` fires from the daemon's own /metrics under its real fault.

A real Prometheus scrapes real daemons and evaluates the rules as they are shipped, but for the
time, which runs faster (`prometheus.hastened`). The exact spans are held by
`config/alerts.test.yml`.
"""

import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode
from tests.acceptance.harness import Bridge, settings
from tests.acceptance.prometheus import (
    Prometheus,
    alerts,
    dashboard,
    hastened,
    skip_without_prometheus,
)
from tests.brokers import new_vhost
from tests.processes import until
from tests.worker import REPLIES, Worker

FACTOR = {
    "": 60,  # a minute is a second
    "SwfBridgeDown": 30,
    "SwfBridgeRestarting": 15,  # so that all restarts fall into its span on a slow machine, too
    "SwfBridgeBrokerFlapping": 10,
    "SwfBridgeCredentials": 90,
    "SwfBridgePollsFailing": 90,
    "SwfBridgeThrottled": 120,
    "SwfBridgeWindowFull": 120,
    "SwfBridgeNoWorkers": 180,
    "SwfBridgeOldestTask": 1200,
}
SECONDS = 40.0
"""Three times what the slowest takes to fire on a quiet machine."""

AT_ONCE = [
    ("SwfBridgeThreadStuck", {"instance": "stuck", "thread": "timer"}),
    ("SwfBridgeCredentials", {"instance": "ill", "code": "ExpiredTokenException"}),
    ("SwfBridgeCredentials", {"instance": "stuck", "code": "NoCredentialsError"}),
    ("SwfBridgePollsRefused", {"instance": "ill", "domain": "nowhere", "task_list": "lost"}),
    ("SwfBridgePollsFailing", {"instance": "ill", "task_list": "failing"}),
    ("SwfBridgeListNotPolled", {"instance": "ill", "task_list": "mute"}),
    ("SwfBridgeThrottled", {"instance": "ill", "operation": "PollForActivityTask"}),
    ("SwfBridgeNoWorkers", {"instance": "ill", "task_list": "idle"}),
    ("SwfBridgeWindowFull", {"instance": "ill", "task_list": "full"}),
    ("SwfBridgeOldestTask", {"instance": "ill", "task_list": "full"}),
    ("SwfBridgeNoQueue", {"instance": "ill"}),
    ("SwfBridgeTasksFailedBack", {"instance": "ill", "task_list": "main"}),
    ("SwfBridgeRepliesHeld", {"instance": "ill"}),
    ("SwfBridgeDeadLetters", {"queue": "swf.replies.dead"}),
    ("SwfBridgeLateReplies", {"instance": "ill"}),
]
"""What is wrong at the same time, with labels by which each alert must name it."""

IN_TURN = {
    "SwfBridgeJournalNotWritable",
    "SwfBridgeBrokerBlocked",
    "SwfBridgeBrokerFlapping",
    "SwfBridgeBrokerAway",
    "SwfBridgeRestarting",
    "SwfBridgeDown",
}
"""What concerns a whole daemon: one test each, in this order."""

BY_PROMTOOL = {"SwfBridgePaused", "SwfBridgeDeadLettersWaiting", "SwfBridgeLogLinesDropped"}
"""What would take an hour here, another broker, or no log to look into: `config/alerts.test.yml`
alone tries them."""

# Many pollers where each try is put off for longer and longer: that runs no faster in the test.
LISTS = """[
    "main", "held", "mute",
    {"name": "lost", "domain": "nowhere"},
    {"name": "failing", "pollers": 30},
    {"name": "expired", "pollers": 30},
    {"name": "throttled", "pollers": 10},
    {"name": "idle", "queue": "nobody"},
    {"name": "full", "max_in_flight": 1}
]"""

HANGS = """
import sys, threading
from bridge import __main__
from bridge.journal.journal import Journal

def wait_for_a_lock_that_nobody_gives_back(journal):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

Journal.flush = wait_for_a_lock_that_nobody_gives_back
sys.exit(__main__.main(["run"]))
"""


class Echo:
    """Answers every task of a vhost at once, and keeps tasks coming."""

    def __init__(self, swf: LocalSwf, url: str) -> None:
        self.answered = 0
        self._swf, self._url = swf, url
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(10)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        worker = Worker(self._url)
        worker.queue()
        self._ready.set()
        while not self._stop.is_set():
            self._swf.submit(task_list="well")
            worker.until(lambda: self._stop.is_set() or worker.ready("work") > 0)
            for task in worker.take_all():
                worker.complete(task)
                self.answered += 1
            worker.until(self._stop.is_set, 0.2)
        worker.close()


@dataclass
class Scene:
    """Three daemons under one Prometheus: one well, one with all that `AT_ONCE` says; one stuck."""

    prometheus: Prometheus
    swf: LocalSwf
    node: RabbitNode
    ill: Bridge
    echo: Echo


@pytest.fixture(scope="module")
def scene(broker_node: RabbitNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    skip_without_prometheus()
    with ExitStack() as ends:
        swf = ends.enter_context(LocalSwf(hold=0.3))
        vhosts = {
            name: ends.enter_context(new_vhost(lambda: broker_node))
            for name in ("well", "ill", "stuck")
        }
        targets = {
            name: f"127.0.0.1:{port}" for name, port in zip(vhosts, free_ports(3), strict=True)
        }
        lists = {"well": "well", "ill": LISTS, "stuck": '[{"name": "stuck", "pollers": 30}]'}
        bridges = {}
        for name, vhost in vhosts.items():
            given = settings(
                swf,
                vhost.url,
                tmp_path_factory.mktemp(name),
                task_lists=lists[name],
                http=targets[name],
                unroutable_timeout=5,
                log_level="INFO",
            )
            command = ("-m", "bridge", "run")
            if name == "stuck":
                command = ("-c", HANGS)
                given |= {"AWS_ACCESS_KEY_ID": "", "AWS_EC2_METADATA_DISABLED": "true"}
            bridges[name] = Bridge(given, command)
            ends.callback(bridges[name].end)
        faults(swf)
        echo = Echo(swf, vhosts["well"].url)
        ends.callback(echo.end)
        for bridge in bridges.values():
            bridge.start()
        prometheus = Prometheus(targets, hastened(alerts(), FACTOR))
        ends.callback(prometheus.end)
        assert until(lambda: prometheus.value('sum(up{job="swf-bridge"})') == 3)
        mischief(swf, vhosts["ill"].url)
        yield Scene(prometheus, swf, broker_node, bridges["ill"], echo)


def faults(swf: LocalSwf) -> None:
    """What SWF does to the lists of the ill daemon."""
    poll = {"operation": "PollForActivityTask"}
    swf.faults.add("unavailable", task_list="failing", **poll)
    swf.faults.add("expired-token", task_list="expired", **poll)
    swf.faults.add("throttled", task_list="throttled", probability=0.7, seed=1, **poll)
    swf.faults.add("slow", task_list="mute", delay=600, **poll)
    swf.faults.add("unavailable", task_list="held", operation="RespondActivityTaskCompleted")


def mischief(swf: LocalSwf, url: str) -> None:
    """What workers and deciders do to it."""
    worker = Worker(url)
    worker.queue("work", bind="echo.#")
    swf.submit(task_list="full")
    held = swf.submit(task_list="held")
    late = [swf.submit(task_list="main", start_to_close=1) for _ in range(12)]
    tasks = {each.properties.message_id: each for each in worker.take_many(14)}
    worker.complete(tasks[swf.task(held)["messageId"]])
    worker.send(b"no JSON", to=REPLIES)
    swf.submit("nobody", task_list="main")
    assert worker.until(lambda: all(swf.task(each)["state"] != "started" for each in late))
    for each in late:
        worker.complete(tasks[swf.task(each)["messageId"]])
    worker.close()


def test_every_alert_is_under_test() -> None:
    tried = {alert for alert, _ in AT_ONCE} | IN_TURN | BY_PROMTOOL
    assert {rule["alert"] for rule in alerts()} == tried


@pytest.mark.parametrize(("alert", "labels"), AT_ONCE, ids=str)
def test_an_alert_fires_under_its_fault_and_names_it(
    scene: Scene, alert: str, labels: dict[str, str]
) -> None:
    assert until(lambda: fired(scene, alert, labels), SECONDS), scene.ill.log


def test_a_daemon_that_does_well_beside_them_has_no_alert(scene: Scene) -> None:
    assert until(lambda: all(fired(scene, *each) for each in AT_ONCE), SECONDS)
    scene.echo.end()
    assert scene.echo.answered > 10
    assert scene.prometheus.fired(instance="well") == []


def test_every_panel_of_the_dashboard_has_something_to_show(scene: Scene) -> None:
    answers = {
        panel: scene.prometheus.ask("query", query=query)["result"]
        for panel, query in dashboard().items()
    }
    assert len(answers) > 20
    assert [panel for panel, result in answers.items() if not result] == []


def test_no_alert_speaks_in_errors_of_its_template(scene: Scene) -> None:
    words = scene.prometheus.words()
    assert words
    assert not [text for text in words if "error" in text or "no value" in text or "{{" in text]


def fired(scene: Scene, alert: str, labels: dict[str, str]) -> bool:
    """Whether it fires or has fired: some faults end by themselves."""
    return bool(scene.prometheus.fired(alertname=alert, **labels))


def begins(scene: Scene, alert: str, **labels: str) -> None:
    """The alert begins to fire for the ill daemon."""
    fires = until(lambda: scene.prometheus.fires(alert, instance="ill", **labels), SECONDS)
    assert fires, scene.ill.log


def ends(scene: Scene, alert: str, **labels: str) -> None:
    """It fires no more, after the cure."""
    assert until(lambda: not scene.prometheus.fires(alert, instance="ill", **labels), SECONDS)


def test_a_journal_that_cannot_be_written_fires_until_it_can(scene: Scene) -> None:
    assert not scene.prometheus.fires("SwfBridgeJournalNotWritable")
    scene.ill.file_size_limit(0)
    scene.swf.submit(task_list="main")
    begins(scene, "SwfBridgeJournalNotWritable")
    scene.ill.file_size_limit(resource.RLIM_INFINITY)
    ends(scene, "SwfBridgeJournalNotWritable")


def test_a_broker_that_blocks_fires_as_blocked_and_not_as_away(scene: Scene) -> None:
    assert not scene.prometheus.fires("SwfBridgeBrokerBlocked")
    scene.node.memory_alarm(True)
    try:
        scene.swf.submit(task_list="main")
        begins(scene, "SwfBridgeBrokerBlocked", connection="publisher")
        assert not scene.prometheus.fires("SwfBridgeBrokerAway")
    finally:
        scene.node.memory_alarm(False)
    ends(scene, "SwfBridgeBrokerBlocked")


def test_a_broker_that_comes_and_goes_fires(scene: Scene) -> None:
    def reconnects() -> float:
        return scene.prometheus.value(
            'swf_bridge_broker_reconnects_total{instance="ill",connection="consumer"}'
        )

    assert not scene.prometheus.fires("SwfBridgeBrokerFlapping")
    for _ in range(4):
        before = reconnects()
        scene.node.close_all_connections()
        assert until(lambda before=before: reconnects() > before, SECONDS)
    begins(scene, "SwfBridgeBrokerFlapping", connection="consumer")


def test_a_broker_that_is_away_fires_for_each_connection_until_it_is_back(scene: Scene) -> None:
    ends(scene, "SwfBridgeBrokerAway")  # of an earlier test
    scene.node.stop_app()
    try:
        for connection in ("publisher", "consumer", "demand"):
            begins(scene, "SwfBridgeBrokerAway", connection=connection)
    finally:
        scene.node.start_app()
    ends(scene, "SwfBridgeBrokerAway")


def test_a_daemon_that_starts_again_and_again_fires_and_then_one_that_is_down(
    scene: Scene,
) -> None:
    def started() -> float:
        return scene.prometheus.value('process_start_time_seconds{instance="ill"}')

    assert not scene.prometheus.fires("SwfBridgeRestarting")
    for _ in range(3):
        before = started()
        scene.ill.kill()
        scene.ill.start()
        assert until(lambda before=before: started() > before, SECONDS)
    begins(scene, "SwfBridgeRestarting")
    assert not scene.prometheus.fires("SwfBridgeDown")
    scene.ill.kill()
    begins(scene, "SwfBridgeDown")

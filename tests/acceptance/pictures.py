"""The README's pictures of the page, by a real daemon and a real browser: `make pictures`."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode
from tests.acceptance.browser import ROOT, Browser, skip_without_browser
from tests.acceptance.harness import Bridge, settings
from tests.brokers import Vhost, new_vhost
from tests.processes import until
from tests.worker import Worker

PICTURES = ROOT / "docs/pictures"
LIMIT = 100_000
MINUTES = 3
"""Of load before a picture: the plots of the last hour have something to show."""
HOST = "bridge-1"
NAMED = f"""
import socket, sys
from bridge.__main__ import main
socket.gethostname = lambda: {HOST!r}
sys.exit(main())
"""
"""The program on a machine of that name, whichever this one has."""
WELL = "images,emails"
ILL = [
    {"name": "images"},
    {"name": "emails", "queue": "emails"},
    {"name": "invoices", "domain": "dmeo"},
]

RENAME = """
for (const [here, there] of Object.entries(%s)) {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        if (text.data.includes(here)) text.data = text.data.replaceAll(here, there);
    }
}
"""

pytestmark = pytest.mark.timeout(MINUTES * 60 + 300)


def take(
    node: RabbitNode, folder: Path, lists: str, during: Callable[[LocalSwf, Bridge, Worker], None]
) -> None:
    """A picture of the page of a daemon with these task lists, after a load and what is amiss."""
    skip_without_browser()
    path = PICTURES / f"{folder.name}.webp"
    (port,) = free_ports(1)
    with ExitStack() as ends:
        swf = ends.enter_context(LocalSwf(hold=1.0))
        vhost = ends.enter_context(new_vhost(lambda: node))
        worker = Worker(vhost.url)
        ends.callback(worker.close)
        worker.queue(bind="Resize.#")
        more = {"task_lists": lists, "log_level": "INFO"}
        http = f"127.0.0.1:{port}"
        given = settings(swf, vhost.url, folder, http=http, unroutable_timeout=600, **more)
        bridge = Bridge(given, command=("-c", NAMED, "run"))
        ends.callback(bridge.end)
        bridge.start().wait_connected()
        work(swf, worker)
        during(swf, bridge, worker)
        browser = Browser()
        ends.callback(browser.end)
        tab = browser.tab().look(1000, 860)
        assert tab.open(f"http://{http}/").until(lambda tab: "polled" in tab.text("#hour"), 60)
        assert HOST in tab.text("h1")
        tab.run(RENAME % json.dumps(elsewhere(vhost)))
        tab.picture(path)
    assert 5_000 < path.stat().st_size < LIMIT


def work(swf: LocalSwf, worker: Worker) -> None:
    """A load that rises and falls; each task is done after half a second."""
    end = time.monotonic() + MINUTES * 60
    while (left := end - time.monotonic()) > 0:
        for _ in range(3 if left < 60 else 6 if left < 120 else 2):
            swf.submit("Resize.photo", task_list="images")
        time.sleep(0.5)
        while (task := worker.take_now()) is not None:
            worker.complete(task)


def elsewhere(vhost: Vhost) -> dict[str, str]:
    """Names of this machine, and those that they have where the package is installed."""
    documents = "/opt/swf-bridge/share/doc/swf-bridge"
    return {str(ROOT): documents, vhost.name: "/"}


def test_the_page_of_a_daemon_that_does_well(
    broker_node: RabbitNode, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def in_hand(swf: LocalSwf, _: Bridge, worker: Worker) -> None:
        for _ in range(4):
            swf.submit("Resize.photo", task_list="images")
        worker.take_many(4)

    take(broker_node, tmp_path_factory.mktemp("healthy", numbered=False), WELL, in_hand)


def test_the_page_of_a_daemon_with_several_things_amiss(
    broker_node: RabbitNode, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def mischief(swf: LocalSwf, bridge: Bridge, worker: Worker) -> None:
        swf.submit("Crop.photo", task_list="images")
        worker.send(b"no JSON")
        bridge.wait("poll.refused", domain="dmeo")
        bridge.wait("demand.none")
        bridge.wait("task.unroutable")
        bridge.wait("reply.dead_lettered")
        assert until(lambda: bridge.status["deadLetters"]["standing"])  # counted every 5 seconds

    take(broker_node, tmp_path_factory.mktemp("ill", numbered=False), json.dumps(ILL), mischief)

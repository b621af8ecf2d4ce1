"""The page at `/` of a real daemon in a real browser, under real faults.

Screenshots stand in `build/page/` for a person to look at.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode
from tests.acceptance.browser import AXE, ROOT, Browser, Tab, skip_without_browser
from tests.acceptance.harness import Bridge, check_log, settings
from tests.brokers import new_vhost
from tests.worker import Worker

SHOTS = ROOT / "build" / "page"
SECONDS = 30.0
"""For what the page shows within two renewals: many times that."""
HOSTILE = '<img src=x onerror="document.title=1">'
LONG = "wide-" * 50

LISTS = [
    {"name": "main"},
    {"name": "full", "max_in_flight": 1},
    {"name": "idle", "queue": "nobody"},
    {"name": "lost", "domain": "nowhere"},
    {"name": HOSTILE, "domain": "demo"},
    {"name": LONG, "domain": "demo"},
]
VIEWS = {
    "wide-light": {"width": 1280, "scheme": "light"},
    "wide-dark": {"width": 1280, "scheme": "dark"},
    "phone-light": {"width": 360, "height": 780, "scheme": "light"},
    "phone-dark": {"width": 360, "height": 780, "scheme": "dark"},
    "moving": {"width": 1280, "motion": "no-preference"},
}
view = pytest.mark.parametrize("view", VIEWS)


@dataclass
class Scene:
    """A daemon with nothing amiss and one with nearly everything, and a browser to see them."""

    well: str
    ill: str
    browser: Browser
    swf: LocalSwf
    node: RabbitNode


@pytest.fixture(scope="module")
def scene(broker_node: RabbitNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    skip_without_browser()
    with ExitStack() as ends:
        swf = ends.enter_context(LocalSwf(hold=1.0))
        pages = []
        for name, port in zip(("well", "ill"), free_ports(2), strict=True):
            vhost = ends.enter_context(new_vhost(lambda: broker_node))
            worker = Worker(vhost.url)
            worker.queue(bind="echo.#")
            given = settings(
                swf,
                vhost.url,
                tmp_path_factory.mktemp(name),
                task_lists="well" if name == "well" else json.dumps(LISTS),
                unroutable_timeout=600,
                http=f"127.0.0.1:{port}",
            )
            bridge = Bridge(given)
            ends.callback(bridge.end)
            bridge.start().wait_connected()
            mischief(swf, bridge, worker) if name == "ill" else use(swf, bridge, worker)
            worker.close()
            check_log(bridge, swf)
            pages.append(f"http://127.0.0.1:{port}/")
        browser = Browser()
        ends.callback(browser.end)
        yield Scene(pages[0], pages[1], browser, swf, broker_node)


def use(swf: LocalSwf, bridge: Bridge, worker: Worker) -> None:
    tasks = [swf.submit(task_list="well") for _ in range(3)]
    for each in worker.take_many(3):
        worker.complete(each)
    assert swf.wait_closed(tasks)
    swf.submit(task_list="well")
    worker.take()


def mischief(swf: LocalSwf, bridge: Bridge, worker: Worker) -> None:
    swf.submit("nobody", task_list="main")
    swf.submit(task_list="full")
    swf.submit(task_list=HOSTILE)
    worker.send(b"no JSON")
    bridge.wait("poll.refused", domain="nowhere")
    bridge.wait("demand.none")
    bridge.wait("task.unroutable")
    bridge.wait("reply.dead_lettered")
    worker.take_many(2)


@pytest.fixture
def tab(scene: Scene) -> Iterator[Tab]:
    tab = scene.browser.tab()
    yield tab
    tab.close()


# --- what it shows ---


def test_a_daemon_that_does_well_says_so_first(scene: Scene, tab: Tab) -> None:
    tab.look().open(scene.well)
    assert tab.text("#state") == "✓ All is well"
    assert tab.run("document.title").startswith("✓ well – swf-bridge on ")
    assert tab.text("#wrong") == ""
    assert "demo/well" in tab.text("#lists")
    tab.screenshot(SHOTS / "healthy.png")


def test_the_last_hour_of_each_list_is_drawn_and_told_in_words(scene: Scene, tab: Tab) -> None:
    tab.look(380, 780).open(scene.well)
    assert tab.until(lambda tab: "4 polled" in tab.text("#hour"), SECONDS)
    assert "3 settled" in tab.text("#hour")
    assert re.search(r"oldest in hand: \d+ s now", tab.text("#hour"))
    shapes = "[...document.querySelectorAll('#hour svg path')].map(p => p.getBoundingClientRect())"
    wide = tab.run(f"{shapes}.every(r => r.left >= 0 && r.right <= innerWidth)")
    assert (wide, tab.run("document.querySelectorAll('#hour svg').length")) == (True, 2)
    polled = "document.querySelector('#hour path.polled').getBoundingClientRect().height"
    assert tab.run(polled) > 20
    tab.screenshot(SHOTS / "last-hour-phone.png")


def test_what_is_wrong_stands_on_top_with_what_it_means_and_what_to_do(
    scene: Scene, tab: Tab
) -> None:
    tab.look().open(scene.ill)
    assert tab.until(lambda tab: "Every slot of demo/full" in tab.text("#wrong"), SECONDS)
    assert tab.until(lambda tab: "stands in the dead-letter queue" in tab.text("#wrong"), SECONDS)
    for title in (
        "✗ SWF refuses the polls of nowhere/lost",
        "✗ No queue takes the tasks of nobody.1.0",
        "! Every slot of demo/full is taken",
        "! Nobody wants the tasks of demo/idle",
        "! 1 answer stands in the dead-letter queue",
    ):
        assert title in tab.text("#wrong"), title
    below = tab.run("document.querySelector('#lists').getBoundingClientRect().top")
    assert below > tab.run("document.querySelector('#wrong').getBoundingClientRect().bottom")
    refused = tab.text("#wrong li")
    assert "UnknownResourceFault" in refused
    assert "SWF keeps these tasks" in refused
    assert "Do: Mend the domain or the permission" in refused
    assert "SwfBridgePollsRefused" in refused
    assert "no: queue nobody" in tab.text("#lists")
    assert "1 dead letter stands in swf.replies.dead" in tab.text("#replies")
    assert "task.unroutable" in tab.text("#errors")
    tab.screenshot(SHOTS / "ill.png")


def test_it_is_live_and_tells_when_the_broker_goes_and_comes(scene: Scene, tab: Tab) -> None:
    tab.look().open(scene.well)
    tab.run("window.mark = 'the same page'")
    scene.node.stop_app()
    try:
        assert tab.until(lambda tab: tab.text("#state") == "✗ RabbitMQ is away", SECONDS)
        assert "none is lost" in tab.text("#wrong")
        assert "away" in tab.text("#glance")
        assert tab.run("document.title").startswith("✗ 1 wrong")
        tab.screenshot(SHOTS / "broker-away.png")
        tab.look(360, 780, scheme="dark").screenshot(SHOTS / "broker-away-phone-dark.png")
    finally:
        scene.node.start_app()
    assert tab.until(lambda tab: tab.text("#state") == "✓ All is well", SECONDS)
    assert tab.text("#wrong") == ""
    scene.swf.submit(task_list="well")
    assert tab.until(lambda tab: re.search(r"a (second|minute) now", tab.text("#lists")), SECONDS)
    assert tab.run("window.mark") == "the same page"


def test_it_tells_when_the_daemon_answers_no_more(scene: Scene, tab: Tab) -> None:
    tab.look().open(scene.well)
    tab.call("Network.emulateNetworkConditions", offline=True, latency=0,
             downloadThroughput=-1, uploadThroughput=-1)  # fmt: skip
    assert tab.until(lambda tab: "does not answer" in tab.text("#state"), SECONDS)
    assert tab.run("document.title") == "✗ no answer – swf-bridge"
    tab.call("Network.emulateNetworkConditions", offline=False, latency=0,
             downloadThroughput=-1, uploadThroughput=-1)  # fmt: skip
    assert tab.until(lambda tab: tab.text("#state") == "✓ All is well", SECONDS)


def test_what_is_marked_to_be_copied_is_not_replaced_under_the_hand(scene: Scene, tab: Tab) -> None:
    tab.look().open(scene.ill)
    tab.run("getSelection().selectAllChildren(document.querySelector('#facts')); 0")
    seen, asked = tab.text("#facts"), len(tab.asked)
    assert tab.until(lambda tab: len(tab.asked) > asked + 1, SECONDS)
    assert tab.text("#facts") == seen
    tab.run("getSelection().removeAllRanges(); 0")
    assert tab.until(lambda tab: tab.text("#facts") != seen, SECONDS)


# --- for whom ---


@view
@pytest.mark.parametrize("page", ["well", "ill"])
def test_it_fits_every_view_and_hinders_nobody(
    scene: Scene, tab: Tab, page: str, view: str
) -> None:
    if not AXE.exists():
        pytest.skip("no axe-core: `make test` installs it")
    tab.look(**VIEWS[view]).open(getattr(scene, page))
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    assert tab.violations() == []
    assert tab.complaints == []
    tab.screenshot(SHOTS / f"{page}-{view}.png")


def test_axe_would_find_what_hinders(scene: Scene, tab: Tab) -> None:
    if not AXE.exists():
        pytest.skip("no axe-core: `make test` installs it")
    tab.look().open(scene.well)
    tab.run("document.querySelector('#facts').style.color = '#ddd'; 0")
    assert [name for name, _ in tab.violations()] == ["color-contrast"]


def test_without_javascript_it_is_whole_and_says_that_it_is_not_live(
    scene: Scene, tab: Tab
) -> None:
    tab.look().without_script().open(scene.ill)
    tree = tab.tree()
    names = [name for _, name in tree]
    assert ("heading", "SWF refuses the polls of nowhere/lost") in tree
    assert ("heading", "Task lists") in tree
    assert "Without JavaScript this page does not renew itself." in names
    assert len(tab.asked) == 1


def test_a_screen_reader_finds_landmarks_headings_and_a_state(scene: Scene, tab: Tab) -> None:
    tree = tab.look().open(scene.ill).tree()
    roles = [role for role, _ in tree]
    for landmark in ("banner", "main", "navigation", "contentinfo", "status"):
        assert roles.count(landmark) == 1, landmark
    regions = [name for role, name in tree if role == "region"]
    assert regions[:2] == ["What is wrong", "Task lists"]
    assert "columnheader" in roles
    assert "rowheader" in roles


def test_on_a_phone_a_table_is_still_one_for_a_screen_reader(scene: Scene, tab: Tab) -> None:
    roles = [role for role, _ in tab.look(360, 780).open(scene.ill).tree()]
    assert {"table", "row", "rowheader", "columnheader", "cell"} <= set(roles)


def test_the_keyboard_reaches_every_link_and_shows_where_it_is(scene: Scene, tab: Tab) -> None:
    tab.look().open(scene.well)
    reached = []
    for _ in range(3):
        for kind in ("keyDown", "keyUp"):
            tab.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab",
                     windowsVirtualKeyCode=9)  # fmt: skip
        reached.append(tab.run("document.activeElement.getAttribute('href')"))
        assert tab.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert reached == ["/livez", "/readyz", "/metrics"]


# --- against whom ---


def test_a_hostile_name_is_shown_as_it_is_and_does_nothing(scene: Scene, tab: Tab) -> None:
    tab.look().open(scene.ill)
    asked = len(tab.asked)
    assert tab.until(lambda tab: len(tab.asked) > asked, SECONDS)
    assert HOSTILE in tab.text("#lists")
    assert tab.run("document.images.length + document.querySelectorAll('[onerror]').length") == 0
    assert tab.run("document.title").startswith("✗ ")
    assert tab.complaints == []


def test_what_is_injected_all_the_same_cannot_run_or_load(scene: Scene, tab: Tab) -> None:
    tab.look().open(scene.well)
    tab.run(
        "document.body.insertAdjacentHTML('beforeend',"
        " '<img src=/livez onerror=\"window.ran = 1\"><iframe src=/livez></iframe>'); 0"
    )
    refused = "violates the following Content Security Policy"
    assert tab.until(lambda tab: sum(refused in each["text"] for each in tab.complaints) >= 2)
    assert tab.run("window.ran") is None


def test_it_asks_no_other_host_and_only_for_itself(scene: Scene, tab: Tab) -> None:
    tab.look().open(scene.ill)
    assert tab.until(lambda tab: len(tab.asked) > 2, SECONDS)
    assert set(tab.asked) == {scene.ill}

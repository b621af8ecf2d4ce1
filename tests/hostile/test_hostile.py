"""The short form of `make hostile`: a few attacks, and that the measure can fail."""

from typing import TYPE_CHECKING

import pytest

from bridge.local.rabbitmq import RabbitNode

from .every import ATTACKS
from .measure import measure
from .registry import PROMISE, Attack

if TYPE_CHECKING:
    from .site import Site

QUICK = [attack.name for attack in ATTACKS.values() if attack.quick]
SECONDS = 5.0


@pytest.mark.parametrize("name", QUICK)
def test_good_work_goes_on_beside_the_attack(broker_node: RabbitNode, name: str) -> None:
    """Measured again where it was too slow: other tests run beside this one."""
    figures = measure(broker_node, ATTACKS[name], 1, SECONDS)
    if not figures.holds and not figures.ends:
        figures = measure(broker_node, ATTACKS[name], 2, SECONDS)
    assert figures.holds, figures


def _freeze(site: "Site") -> None:
    site.swf.faults.add("unavailable", operation="RespondActivityTaskCompleted")


def _kill(site: "Site") -> None:
    site.kill_daemon()


def test_a_measure_sees_good_work_that_stands_still(broker_node: RabbitNode) -> None:
    frozen = Attack("frozen", "SWF takes no answer", _freeze, {}, False, False, False)
    figures = measure(broker_node, frozen, 1, SECONDS, patience=2 * PROMISE)
    assert not figures.holds
    assert figures.within(0.99) > PROMISE
    assert figures.in_time < 0.5


def test_a_measure_sees_an_end_of_the_daemon(broker_node: RabbitNode) -> None:
    killed = Attack("killed", "the daemon is killed", _kill, {}, False, False, False)
    figures = measure(broker_node, killed, 1, SECONDS)
    assert not figures.holds
    assert figures.ends == (-9,)

"""Each fault once, under load, on one running bench; at its end every token is accounted for."""

from collections.abc import Iterator

import pytest

from bridge.local.rabbitmq import RabbitNode

from . import broker_faults, daemon_faults, reply_faults, swf_faults  # noqa: F401 - they register
from .bench import IN_FLIGHT, Bench
from .registry import FAULTS, every

EXPECTED_ENDS = {0, -9}
"""Exit codes: a fault may kill or stop the daemon, but it must not end by itself."""
OWN_ENDS = {"journal_from_a_newer_version": 78, "journal_read_only": 70}
"""But for what it cannot begin with."""


@pytest.fixture(scope="module")
def bench(broker_node: RabbitNode) -> Iterator[Bench]:
    with Bench(seed=1, node=broker_node) as bench:
        yield bench


@pytest.fixture(autouse=True)
def _mended(bench: Bench) -> Iterator[None]:
    yield
    bench.mend()


@pytest.mark.parametrize("name", [name for kind in FAULTS.values() for name in kind])
def test_nothing_is_lost_and_work_goes_on_after(bench: Bench, name: str) -> None:
    deaths = len(bench.daemon.deaths)
    bench.strike(every()[name], hold=0.5)
    account = bench.account()
    assert not account.lost + account.wrong, account.problems()
    codes = {death.code for death in bench.daemon.deaths[deaths:]}
    assert codes <= EXPECTED_ENDS | {OWN_ENDS.get(name, 0)}, bench.words()


def test_every_token_is_accounted_for_at_the_end(bench: Bench) -> None:
    account = bench.finish(60)
    assert not account.lost + account.wrong, account.problems()
    assert not account.owed
    assert not account.waiting
    assert account.settled
    for name, figures in bench.figures.items():
        assert min(figures.in_flight) >= IN_FLIGHT, name


def test_no_good_reply_is_among_the_dead_letters(bench: Bench) -> None:
    letters = bench.dead_letters()
    assert [body for _, body in letters if b"chaos" not in body] == []

"""That the bench can fail: without a journal, a kill loses tasks, and the account says which."""

from bridge.local.rabbitmq import RabbitNode

from . import daemon_faults  # noqa: F401 - they register
from .bench import Bench
from .registry import every


def test_a_build_without_a_journal_goes_red(broker_node: RabbitNode) -> None:
    with Bench(seed=2, node=broker_node, options=["journal=memory"]) as bench:
        for worker in bench.workers:
            worker.stop()  # so that tasks are in hand, and some on their way
        bench.node.pause()
        bench.await_in_flight(60)
        bench.daemon.kill()
        bench.node.resume()
        bench.daemon.await_event("daemon.started", since=bench.daemon.mark())
        assert bench.finish(3).lost


def test_a_build_with_its_journal_does_not(broker_node: RabbitNode) -> None:
    with Bench(seed=2, node=broker_node) as bench:
        bench.strike(every()["killed"])
        account = bench.finish(60)
        assert not account.lost + account.wrong, account.problems()
        assert not account.owed

"""The short form of `make cluster`: the bridge on three nodes, one of which dies and stays away."""

import pytest

from .bench import Bench
from .events import dead_leader, dead_node
from .nodes import Cluster


@pytest.mark.timeout(400)  # three nodes boot, and two of them again
def test_a_node_that_dies_and_stays_away_costs_seconds_and_no_task() -> None:
    with Cluster() as cluster, Bench(cluster) as bench:
        for event in (dead_node, dead_leader):
            began, ended = event(bench, 8.0)
            cluster.await_all()
            bench.await_progress()
            assert bench.longest_gap(began, ended) <= 5.0, event.__doc__
        assert bench.finish() == []

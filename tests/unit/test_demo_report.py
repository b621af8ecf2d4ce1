import sys
from typing import Any

import pytest

from demo.report import Progress, quantile, table
from demo.tasks import plan


def as_ledger(state: str, **members: Any) -> dict[str, Any]:
    task: dict[str, Any] = {"state": state, "result": None, "reason": None, "heartbeats": []}
    return task | {"scheduledAt": 10.0, "closedAt": 10.5} | members


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3, 1, 2], 0.5, 2), ([1, 2, 3, 4], 0.5, 2), (list(range(1, 101)), 0.99, 99), ([7], 0.99, 7)],
)
def test_a_quantile_is_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == expected


def test_the_plan_has_three_types_and_every_outcome() -> None:
    orders = plan(200)
    assert len({(order.name, order.version) for order in orders}) == 3
    states = [order.state for order in orders]
    assert [states.count(s) for s in ("completed", "failed", "canceled")] == [170, 20, 10]


def test_a_task_with_another_result_or_end_did_not_close_as_it_should() -> None:
    echo = plan(1)[0]
    assert echo.closed_as_it_should(as_ledger("completed", result=echo.result))
    assert not echo.closed_as_it_should(as_ledger("completed", result="something else"))
    assert not echo.closed_as_it_should(as_ledger("timed-out"))


def test_a_cancelled_task_has_to_have_beaten() -> None:
    endless = plan(10)[9]
    assert endless.to_cancel
    assert endless.closed_as_it_should(as_ledger("canceled", heartbeats=[1.0]))
    assert not endless.closed_as_it_should(as_ledger("canceled"))


def test_the_table_counts_what_is_still_open_as_other_and_not_as_expected() -> None:
    orders = plan(2)
    ended = as_ledger("completed", result=orders[0].result)
    last = table(orders, [ended, as_ledger("started", closedAt=None)]).splitlines()[-1].split()
    assert last == ["all", "2", "1", "0", "0", "1", "1", "of", "2", "500", "ms", "500", "ms"]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_rewrites_its_line_on_a_terminal_only(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    progress = Progress(200)
    progress.show({"closed": {"completed": 3, "timed-out": 1}, "open": 2})
    progress.show({"closed": {"completed": 6}, "open": 0}, last=True)
    output = capsys.readouterr().out
    assert output.count("\n") == (1 if terminal else 2)
    assert output.count("\r") == (2 if terminal else 0)
    assert "4 of 200 tasks closed (3 completed, 0 failed, 0 canceled), 2 open" in output

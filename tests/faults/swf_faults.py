"""What SWF, the network before it and the account do to the bridge: `bridge.local.api.faults`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .daemon import until
from .registry import SWF, fault

if TYPE_CHECKING:
    from .bench import Bench

SHARE = 0.5
"""Of all calls, polls and answers alike."""

CALLS = 20
"""Calls that each kind strikes at least."""

KINDS = (
    "internal",
    "unavailable",
    "throttled",
    "limit-exceeded",
    "expired-token",
    "access-denied",
    "not-permitted",
    "html",
    "garbage",
    "half-body",
    "cut-before",
    "cut-after",
)


def _await_struck(bench: "Bench", rule: str) -> None:
    """Until so many calls were struck that the fault was one; beside another there may be none."""
    if not bench.alone:
        return

    def struck() -> bool:
        (view,) = [each for each in bench.swf.faults.list() if each["id"] == rule]
        return bool(view["struck"] >= CALLS)

    until(struck, 30, f"{CALLS} calls struck", bench.words)


def _answers(kind: str) -> None:
    def body(bench: "Bench") -> Iterator[None]:
        rule = bench.swf.faults.add(kind, probability=SHARE, seed=bench.seed)
        yield
        _await_struck(bench, rule)
        bench.swf.faults.remove(rule)

    body.__name__ = f"swf_{kind.replace('-', '_')}"
    fault(SWF)(body)


for _kind in KINDS:
    _answers(_kind)


@fault(SWF)
def swf_slow(bench: "Bench") -> Iterator[None]:
    rule = bench.swf.faults.add("slow", delay=1.0)
    yield
    _await_struck(bench, rule)
    bench.swf.faults.remove(rule)

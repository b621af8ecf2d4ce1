"""What the demo submits, and how each task has to close."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATIENT_STEPS = 4
ENDLESS_STEPS = 10_000


@dataclass(frozen=True)
class Order:
    """One task and the end that SWF's ledger has to show for it."""

    name: str
    version: str
    input: str
    state: str
    result: str | None = None
    reason: str | None = None

    @property
    def to_cancel(self) -> bool:
        """Its cancellation is requested once it beats."""
        return self.state == "canceled"

    def closed_as_it_should(self, task: Mapping[str, Any]) -> bool:
        """Compare with the task as the ledger shows it, payload included."""
        if self.to_cancel and not task["heartbeats"]:
            return False
        wanted = {"state": self.state, "result": self.result, "reason": self.reason}
        return all(task[member] == value for member, value in wanted.items())


def plan(count: int) -> list[Order]:
    """So many tasks of three types, mixed; of every twenty two fail and one is cancelled."""
    return [_order(number) for number in range(count)]


def _order(number: int) -> Order:
    kind = number % 10
    if kind == 9:
        return _encode(endless=number % 20 == 9)
    if kind in (2, 5, 8):
        return _check(number, 0 if kind == 5 else 10 * number)
    text = f"tâche {number}"
    return Order("Text.echo", "1.0", text, "completed", result=text)


def _check(number: int, amount: int) -> Order:
    text = json.dumps({"order": number, "amount": amount})
    if amount <= 0:
        return Order("Order.check", "1.0", text, "failed", reason="amount must be positive")
    result = json.dumps({"order": number, "accepted": True}, separators=(",", ":"))
    return Order("Order.check", "1.0", text, "completed", result=result)


def _encode(*, endless: bool) -> Order:
    steps = ENDLESS_STEPS if endless else PATIENT_STEPS
    text = json.dumps({"steps": steps})
    if endless:
        return Order("Video.encode", "2.0", text, "canceled")
    return Order("Video.encode", "2.0", text, "completed", result=f"step {steps}")

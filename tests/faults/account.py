"""The measure: what the journal ever held = settled as intended + still owed, and nothing else.

SWF's own ledger knows every task that it ever gave away; the journal of a dead daemon, and what a
living one says that it has journalled, are the other side.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .daemon import Death

GAP = 20.0
"""Seconds before a death in which a task may have been given away that no journal ever held: on a
loaded machine a poll's answer may lie in a socket for so long, and no longer.
"""


@dataclass
class Account:
    """Every task that was ever submitted, by what became of it."""

    waiting: int = 0
    """Not yet given away."""
    settled: int = 0
    owed: list[str] = field(default_factory=list)
    unheard: int = 0
    """Given to a poll whose answer a fault of SWF destroyed."""
    given_away: int = 0
    """Given to a process that was killed before it could journal them; at most one a poller."""
    damaged: int = 0
    """Stood in a journal that a fault destroyed."""
    duplicates: int = 0
    """Deliveries to workers beyond one a task, without RabbitMQ's own redeliveries."""
    lost: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    """Closed in another way than its worker said."""

    @property
    def tasks(self) -> int:
        apart = self.unheard + self.given_away + self.damaged
        known = self.waiting + self.settled + len(self.owed) + apart
        return known + len(self.lost) + len(self.wrong)

    def problems(self) -> str:
        """A line for each task that is missing or closed wrongly, with all that SWF knows of it."""
        lines = [f"LOST {json.dumps(task)}" for task in self.lost]
        return "\n".join(lines + [f"WRONG {json.dumps(task)}" for task in self.wrong])


def settle_accounts(
    tasks: Iterable[dict[str, Any]],
    *,
    journal: frozenset[str],
    polled: set[str],
    received: Counter[str],
    deaths: list[Death],
    pollers: int,
    damaged: frozenset[str] = frozenset(),
) -> Account:
    """`tasks` are those of the ledger with their payload, after the last fault was healed."""
    account = Account(duplicates=sum(received.values()) - len(received))
    ever = polled.union(received, *(death.journalled for death in deaths))
    spare = {death.at: pollers for death in deaths}
    for task in tasks:
        name = task["messageId"]
        if task["state"] == "scheduled":
            account.waiting += 1
        elif task["state"] != "started":
            _closed(account, task)
        elif name in journal:
            account.owed.append(task["id"])
        elif name in damaged:
            account.damaged += 1
        elif task["unheard"]:
            account.unheard += 1
        elif name not in ever and (death := _heir(task, deaths, spare)):
            spare[death.at] -= 1
            account.given_away += 1
        else:
            account.lost.append(task)
    return account


def _closed(account: Account, task: dict[str, Any]) -> None:
    wanted = json.loads(task["input"])["end"]
    said = task["result"] if wanted == "completed" else task["reason"]
    if task["state"] == wanted and said == "as wanted":
        account.settled += 1
    else:
        account.wrong.append(task)


def _heir(task: dict[str, Any], deaths: list[Death], spare: dict[float, int]) -> Death | None:
    """The death that may have taken this task with it."""
    at = task["startedAt"]
    for death in deaths:
        lived = death.began - 1 <= at <= death.at + 1
        if lived and death.at - at <= GAP and spare[death.at] > 0:
            return death
    return None

"""Finds what is wrong in a snapshot of the daemon, and words it for the operator. Pure.

The page and ``swf-bridge status`` show the same findings, grave ones first. A finding may name an
alert of ``config/alerts.yml``, whose paragraph in ``docs/alerts.md`` says more. The snapshot may
come from a daemon of another version: a check of unknown kind is shown with the daemon's own text.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from bridge.flow.obstacle import PollerState
from bridge.rabbitmq.demand import DemandState
from bridge.status.diagnosis.failures import failures
from bridge.status.diagnosis.finding import Finding, Json, counted, listed

RECENT = 3600.0
"""Seconds for which a past failure stays a finding."""
_NO_WORKERS = {DemandState.NO_CONSUMER, DemandState.REFUSED, DemandState.SILENT}


def findings(now: Json) -> list[Finding]:
    """The findings of a snapshot (``bridge/status/snapshot.py``), grave ones first."""
    found = chain(
        failures(now),
        _unroutable(now),
        _answers(now),
        _windows(now),
        _paused(now),
        _demand(now),
        _dead_letters(now),
        _past(now),
    )
    return sorted(found, key=lambda finding: not finding.grave)


def by_trouble(lists: Sequence[Json]) -> list[Json]:
    """The rows of a snapshot's task lists; lists that are not polled come first."""
    return sorted(lists, key=lambda row: not row["notPolled"])


def _unroutable(now: Json) -> Iterator[Finding]:
    if keys := now["unroutable"]:
        ends = [each["failsIn"] for each in keys if each.get("failsIn") is not None]
        tasks = "They wait in the journal, behind a full queue for as long as it takes."
        if ends:
            tasks = (
                f"They wait in the journal. The first is failed in SWF in {min(ends):.0f} s, where"
                " no queue is bound until then; behind a full queue they wait on."
            )
        yield Finding(
            True,
            f"No queue takes the tasks of {listed([each['key'] for each in keys])}",
            str(keys[0]["reason"]),
            tasks,
            "Start the worker whose queue is missing, bind the queue to this routing key, or start"
            " more workers for the full one. SWF_BRIDGE_UNROUTABLE_TIMEOUT gives more time.",
            "SwfBridgeNoQueue",
        )


def _answers(now: Json) -> Iterator[Finding]:
    held, check = now["replies"]["held"], now["checks"].get("answers")
    if held and (check is None or check["ok"]):
        yield Finding(
            False,
            f"{counted(held, 'answer waits', 'answers wait')} for SWF",
            "SWF did not take them at the first try",
            "Their clocks run. The answers are safe.",
            "Nothing, as long as the number falls.",
            "SwfBridgeRepliesHeld",
        )


def _windows(now: Json) -> Iterator[Finding]:
    full = [each for each in now["lists"] if each["slots"] and each["inFlight"] >= each["slots"]]
    if full:
        yield Finding(
            False,
            f"Every slot of {listed([_name(each) for each in full])} is taken",
            f"{counted(full[0]['inFlight'], 'task is', 'tasks are')} with workers",
            "SWF keeps the rest of the list until one of them is answered.",
            "See whether workers answer: `swf-bridge tasks list`. Start more, or raise"
            " max_in_flight.",
            "SwfBridgeWindowFull",
        )


def _paused(now: Json) -> Iterator[Finding]:
    paused = [each for each in now["lists"] if each.get("paused")]
    for text in dict.fromkeys(str(each["paused"]["text"]) for each in paused):
        names = [_name(each) for each in paused if each["paused"]["text"] == text]
        yield Finding(
            False,
            f"{listed(names)} {'is' if len(names) == 1 else 'are'} paused",
            text,
            "SWF keeps them; their schedule-to-start clocks run. What is in hand goes on.",
            "Nothing, if it is still meant; else `swf-bridge resume`.",
            "SwfBridgePaused",
        )


def _demand(now: Json) -> Iterator[Finding]:
    idle = [each for each in now["lists"] if is_without_workers(each)]
    if idle:
        yield Finding(
            False,
            f"Nobody wants the tasks of {listed([_name(each) for each in idle])}",
            str(idle[0]["notPolled"]),
            "SWF keeps them; their schedule-to-start clocks run.",
            "Start workers, unless that is meant.",
            "SwfBridgeNoWorkers",
        )


def is_without_workers(row: Json) -> bool:
    """Whether a list is not polled because its queue has no known consumer."""
    demand = row.get("demand")
    return is_held_by_demand(row) and demand is not None and demand["state"] in _NO_WORKERS


def is_held_by_demand(row: Json) -> bool:
    """Whether a list is not polled because the queue that it follows wants no tasks."""
    return row.get("obstacle") == PollerState.NO_DEMAND.value


def _past(now: Json) -> Iterator[Finding]:
    """Tasks that the bridge failed within RECENT, as far as the last errors still show them."""
    recent = [each for each in now["lastErrors"] if now["now"] - each["at"] < RECENT]
    failed = [each["fields"] for each in recent if each["event"] == "task.failed_back"]
    if failed:
        yield Finding(
            False,
            "The bridge has failed tasks in SWF",
            str(failed[0].get("reason", "")),
            "Their workflows have seen the failure.",
            "Mend the cause, and retry the workflows where their deciders do not.",
            "SwfBridgeTasksFailedBack",
        )


def _dead_letters(now: Json) -> Iterator[Finding]:
    """All messages in the dead-letter queue, of any origin; an older daemon gives no number."""
    dead = now["deadLetters"]
    if count := dead.get("standing"):
        codes = ", ".join(f"{times} {code}" for code, times in dead["codes"].items())
        yield Finding(
            False,
            f"{counted(count, 'answer stands', 'answers stand')} in the dead-letter queue",
            f"queue {dead['queue']}; since the start of this daemon: {codes or 'none'}",
            "The tasks that they meant stay open until SWF times them out, but for those of the"
            " codes result-too-large, refused-by-swf and, where the answer names its task,"
            " too-large, which were failed.",
            "See what they are and mend the worker: `swf-bridge dead list`. Then `swf-bridge dead"
            " drop` them; `replay` those whose fault was not their own, such as token-invalid at a"
            " bridge with another account's keys.",
            "SwfBridgeDeadLetters",
        )


def _name(row: Json) -> str:
    return f"{row['domain']}/{row['taskList']}"

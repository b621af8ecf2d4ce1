"""What is wrong with the daemon, read off a snapshot, in words for who has to mend it. Pure.

The page and ``swf-bridge status`` show the same findings, the gravest first. Each names the alert
of ``config/alerts.yml`` whose paragraph in ``docs/alerts.md`` says more. A snapshot is plain data
from the daemon that is asked, which may be of another version: what is not known is told as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from bridge.status.checks import Kind, State

Json = Mapping[str, Any]

RECENT = 3600.0
"""Seconds for which something that has happened, and is over, is still told."""
NAMED = 2
"""So many lists or keys are named in a title; then there are so many more."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or that wants a look where it is not ``grave``."""

    grave: bool
    title: str
    detail: str
    tasks: str
    """What it means for the tasks."""
    todo: str
    """What to do; commands stand between backticks."""
    alert: str = ""


def findings(now: Json) -> list[Finding]:
    """All that a snapshot (``bridge/status/snapshot.py``) has to tell, the gravest first."""
    found = chain(
        _checks(now),
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
    """The rows of a snapshot's task lists, those that are not polled first."""
    return sorted(lists, key=lambda row: not row["notPolled"])


def _checks(now: Json) -> Iterator[Finding]:
    wrong = [_read(name, check) for name, check in now["checks"].items() if not check["ok"]]
    of = {kind: [each for each in wrong if each.kind is kind] for kind in Kind}
    own = ((Kind.THREADS, _thread), (Kind.DAEMON, _draining))
    yield from (told(of[kind][0].detail) for kind, told in own if of[kind])
    broker = of[Kind.BROKER]
    if any(each.subject not in _BESIDE for each in broker):
        yield _broker(broker)
    else:
        for each in broker:
            yield _lacking(each, _BESIDE[each.subject])
    for each in of[Kind.LACKING]:
        yield _lacking(each, "Tasks and replies go on without it.")
    if of[Kind.JOURNAL]:
        yield _journal(of[Kind.JOURNAL][0].detail)
    for cause in dict.fromkeys((each.state, each.detail) for each in of[Kind.POLLS]):
        lists = [each for each in of[Kind.POLLS] if (each.state, each.detail) == cause]
        yield _polls(lists)
    if of[Kind.ANSWERS]:
        yield _not_taken(of[Kind.ANSWERS][0].detail, now["replies"]["held"])
    yield from _not_parked(of[Kind.DEAD_LETTERS], now["deadLetters"].get("waiting", 0))
    for each in wrong:
        if each.kind is None:
            yield Finding(True, f"{each.subject} is not as it should be", each.detail, "", "")


class _Wrong(NamedTuple):
    """A check that is not as it should be; without a kind where this version does not know it."""

    kind: Kind | None
    state: State
    detail: str
    subject: str


def _read(name: str, check: Json) -> _Wrong:
    detail = str(check["detail"])
    try:
        kind, state = Kind(check["kind"]), State(check["state"])
    except (KeyError, ValueError):
        return _Wrong(None, State.FAILING, detail, name)
    return _Wrong(kind, state, detail, str(check.get("subject", "")))


def _thread(why: str) -> Finding:
    return Finding(
        True,
        "A thread is stuck",
        why,
        "What this thread does stands still. The journal keeps the tasks.",
        "Under systemd the watchdog starts the daemon again within minutes. Elsewhere start it"
        " again, and report the stacks from the log.",
        "SwfBridgeThreadStuck",
    )


def _draining(how: str) -> Finding:
    return Finding(
        False,
        "The daemon drains and will stop",
        how,
        "No new poll begins. What open polls bring is published, and answers go on.",
        "Nothing: it ends by itself. `swf-bridge drain` waits for that.",
    )


_WITHOUT = {
    "publisher": "No list is polled. Tasks in hand wait in the journal: none is lost.",
    "consumer": "Answers of workers wait in RabbitMQ: none is lost.",
    "demand": "Lists that follow a queue are not polled.",
}
_BESIDE = {
    "copies": "Bad answers are not moved to the dead-letter queue meanwhile.",
    "answers": "Workers get no answers to heartbeats and hear of no cancellation meanwhile.",
    "undeliverable": "Tasks that workers reject are not failed in SWF meanwhile.",
    "notices": "Slots of tasks that other instances settled come back later, when SWF's"
    " history is asked.",
}
"""The connections without which tasks and replies go on."""


def _lacking(check: _Wrong, tasks: str) -> Finding:
    return Finding(
        False,
        f"RabbitMQ does not let the bridge have: {check.subject}",
        check.detail,
        tasks,
        "See what RabbitMQ says of it, and what `swf-bridge topology` asks for. It is tried again"
        " by itself.",
    )


def _broker(wrong: Sequence[_Wrong]) -> Finding:
    blocked = all(each.state is State.BLOCKED for each in wrong)
    parts: dict[str, list[str]] = {}
    for each in wrong:
        parts.setdefault(each.detail, []).append(each.subject)
    detail = "; ".join(f"{_listed(names, len(names))}: {why}" for why, names in parts.items())
    tasks = " ".join(_WITHOUT.get(each.subject, "") for each in wrong).strip()
    if blocked:
        return Finding(
            True,
            "RabbitMQ blocks the bridge",
            detail,
            f"{tasks} Workers cannot publish their answers either.",
            "RabbitMQ is low on memory or disk: make room there, or start workers for the longest"
            " queue.",
            "SwfBridgeBrokerBlocked",
        )
    if all(each.state is State.REFUSED for each in wrong):
        return Finding(
            True,
            "RabbitMQ refuses the bridge's login",
            detail,
            tasks,
            f"Mend user, password, virtual host or certificate. {_RENEWED}",
            "SwfBridgeBrokerAway",
        )
    return Finding(
        True,
        "RabbitMQ is away",
        detail,
        tasks,
        "See that RabbitMQ runs, and that address, password and permissions are right:"
        f" `swf-bridge check --connect`. The bridge tries again by itself. {_RENEWED}",
        "SwfBridgeBrokerAway",
    )


_RENEWED = (
    "A URL in the credential swf_bridge_amqp_url is read anew before each try; one in the"
    " environment, and a credential of systemd's, takes a restart."
)


def _journal(why: str) -> Finding:
    return Finding(
        True,
        "The journal cannot be written",
        why,
        "No list is polled. Answers go on. What came last is in memory only: do not stop the"
        " daemon if you can help it.",
        "Look for free disk space and for the file's owner. It is tried again every second.",
        "SwfBridgeJournalNotWritable",
    )


def _polls(lists: Sequence[_Wrong]) -> Finding:
    names, (first, *_) = _listed([each.subject for each in lists]), lists
    tasks = "SWF keeps these tasks; their schedule-to-start clocks run. Other lists go on."
    if first.state is State.REFUSED:
        return Finding(
            True,
            f"SWF refuses the polls of {names}",
            first.detail,
            tasks,
            "Mend the domain or the permission swf:PollForActivityTask. `swf-bridge check"
            " --connect` looks at credentials, domains and, where it may ask IAM, policies."
            " Polls are tried again within a minute.",
            "SwfBridgePollsRefused",
        )
    return Finding(
        True,
        f"No poll of {names} succeeds",
        first.detail,
        tasks,
        "Mend credentials or network: `swf-bridge check --connect` tries both. Polls are tried"
        " again within a minute.",
        "SwfBridgePollsFailing",
    )


def _not_taken(why: str, held: int) -> Finding:
    return Finding(
        True,
        "SWF does not take answers",
        f"{why} ({counted(held, 'answer is', 'answers are')} kept)",
        "Their work is done but SWF does not know: their clocks run. The answers are safe.",
        "Mend network, credentials or permission. They are tried again within a minute.",
        "SwfBridgeRepliesHeld",
    )


def _not_parked(wrong: Sequence[_Wrong], waiting: int) -> Iterator[Finding]:
    if wrong:
        yield Finding(
            True,
            "The dead-letter queue takes nothing",
            f"{wrong[0].detail} ({counted(waiting, 'bad answer waits', 'bad answers wait')})",
            "Good answers go on. Bad ones stay in the reply queue.",
            "See that the queue stands and that the bridge may write to it. Where it is full, make"
            " room: `swf-bridge dead list`, then `swf-bridge dead drop`. It is tried again every 5"
            " seconds.",
            "SwfBridgeDeadLettersWaiting",
        )


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
            f"No queue takes the tasks of {_listed([each['key'] for each in keys])}",
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
            f"Every slot of {_listed([_name(each) for each in full])} is taken",
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
            f"{_listed(names)} {'is' if len(names) == 1 else 'are'} paused",
            text,
            "SWF keeps them; their schedule-to-start clocks run. What is in hand goes on.",
            "Nothing, if it is still meant; else `swf-bridge resume`.",
            "SwfBridgePaused",
        )


def _demand(now: Json) -> Iterator[Finding]:
    idle = [each for each in now["lists"] if _idle(str(each["notPolled"]))]
    if idle:
        yield Finding(
            False,
            f"Nobody wants the tasks of {_listed([_name(each) for each in idle])}",
            str(idle[0]["notPolled"]),
            "SWF keeps them; their schedule-to-start clocks run.",
            "Start workers, unless that is meant.",
            "SwfBridgeNoWorkers",
        )


def _idle(why: str) -> bool:
    """Whether a list waits for its queue, and not because that has enough messages."""
    return why.startswith("queue ") and " holds " not in why and "not seen yet" not in why


def _past(now: Json) -> Iterator[Finding]:
    """What has harmed tasks within the last hour, and is told in the last errors."""
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
    """What stands in the queue, whoever put it there and whenever; an older daemon knows not."""
    dead = now["deadLetters"]
    if count := dead.get("standing"):
        codes = ", ".join(f"{times} {code}" for code, times in dead["codes"].items())
        yield Finding(
            False,
            f"{counted(count, 'answer stands', 'answers stand')} in the dead-letter queue",
            f"queue {dead['queue']}; since the start of this daemon: {codes or 'none'}",
            "The tasks that they meant stay open until SWF times them out, but for those of the"
            " codes result-too-large and refused-by-swf, which were failed.",
            "See what they are and mend the worker: `swf-bridge dead list`. Then `swf-bridge dead"
            " replay` what is still of use, and `drop` the rest.",
            "SwfBridgeDeadLetters",
        )


def _name(row: Json) -> str:
    return f"{row['domain']}/{row['taskList']}"


def _listed(names: Sequence[str], most: int = NAMED) -> str:
    """``a``, ``a and b``, or ``a, b and 3 more``."""
    rest = len(names) - most
    shown = [*names[:most], f"{rest} more"] if rest > 0 else list(names)
    *but_last, last = shown
    return f"{', '.join(but_last)} and {last}" if but_last else last


def counted(count: int, one: str, more: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count} {one if count == 1 else more}"

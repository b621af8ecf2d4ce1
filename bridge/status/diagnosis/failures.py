"""Findings for the failed checks of a snapshot. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bridge.status.diagnosis.checks import Kind, State
from bridge.status.diagnosis.finding import Finding, Json, counted, listed


def failures(now: Json) -> Iterator[Finding]:
    """The findings for the failed checks of a snapshot."""
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
    """A failed check; ``kind`` is None where this version does not know its kind or state."""

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
        how.removeprefix("draining: "),
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
"""The connections that forwarding and replies do not need, and the effect of each loss."""


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
    states = {each.state for each in wrong if each.subject not in _BESIDE}
    parts: dict[str, list[str]] = {}
    for each in wrong:
        parts.setdefault(each.detail, []).append(each.subject)
    detail = "; ".join(f"{listed(names, len(names))}: {why}" for why, names in parts.items())
    tasks = " ".join(_WITHOUT.get(each.subject, "") for each in wrong).strip()
    if states == {State.BLOCKED}:
        return Finding(
            True,
            "RabbitMQ blocks the bridge",
            detail,
            f"{tasks} Workers cannot publish their answers either.",
            "RabbitMQ is low on memory or disk: make room there, or start workers for the longest"
            " queue.",
            "SwfBridgeBrokerBlocked",
        )
    if State.NO_ROOM in states:
        return Finding(
            True,
            "A limit of RabbitMQ keeps the bridge out",
            detail,
            tasks,
            "Raise the limit (`rabbitmqctl set_vhost_limits`, `set_user_limits`), or close"
            " connections of others. The bridge takes six, seven where a list follows a queue;"
            " with fewer, those for tasks and replies come first. It tries again by itself.",
            "SwfBridgeBrokerAway",
        )
    if states == {State.REFUSED}:
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
        why.removeprefix("cannot be written: "),
        "No list is polled. Answers go on. What came last is in memory only: do not stop the"
        " daemon if you can help it.",
        "Look for free disk space and for the file's owner. It is tried again every second.",
        "SwfBridgeJournalNotWritable",
    )


def _polls(lists: Sequence[_Wrong]) -> Finding:
    names, (first, *_) = listed([each.subject for each in lists]), lists
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

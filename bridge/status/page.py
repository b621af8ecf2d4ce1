"""The page at ``/``: a snapshot as HTML, for an operator who was woken at night. Pure.

It is one document without external assets, and complete without its script. The script only
refreshes it: it fetches the page again and replaces the sections that changed. So only this module
renders, and a screen reader announces only changes of the headline. The snapshot is already
redacted (``bridge/status/snapshot.py``); this module escapes it.
"""

import base64
import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any

from bridge.status import plots
from bridge.status.diagnosis.checks import Kind
from bridge.status.diagnosis.diagnosis import by_trouble, findings, is_held_by_demand
from bridge.status.diagnosis.documents import more_about
from bridge.status.diagnosis.finding import Finding, counted
from bridge.status.html import escaped, span, text

Json = Mapping[str, Any]

STYLE = (files("bridge.status") / "page.css").read_text()
SCRIPT = (files("bridge.status") / "page.js").read_text()

_COMMAND = re.compile("`([^`]*)`")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


POLICY = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)};"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: only its own style and script, and requests to itself."""


def render(now: Json) -> str:
    """The page for a snapshot (``bridge/status/snapshot.py``)."""
    found = findings(now)
    sections = "".join(
        (
            _section("wrong", _wrong_heading(found), _wrong(found)) if found else _empty("wrong"),
            _section("lists", "Task lists", _lists(now)),
            _section("hour", "The last hour", plots.hours(now["lists"])),
            _section("unroutable", "Tasks without a queue", _unroutable(now["unroutable"]))
            if now["unroutable"]
            else _empty("unroutable"),
            _section("replies", "Answers of workers", _replies(now)),
            _section("peers", "Connections and journal", _peers(now)),
            _section("errors", "Last warnings and errors", _errors(now)),
        )
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_title(now, found)}</title><style>{STYLE}</style></head>\n<body>"
        f"<header><h1>swf-bridge on {text(now['host'])}</h1>{_headline(now, found)}"
        f'<p id="facts" data-live>{_facts(now)}</p>'
        "<noscript><p>Without JavaScript this page does not renew itself.</p></noscript>"
        f'<ul id="glance" aria-label="At a glance" data-live>{_glance(now)}</ul></header>\n'
        f"<main>{sections}</main>\n"
        '<footer><nav aria-label="For machines"><ul>'
        + "".join(
            f'<li><a href="{path}">{path}</a></li>' for path in ("/livez", "/readyz", "/metrics")
        )
        + f"</ul></nav></footer>\n<script>{SCRIPT}</script></body></html>\n"
    )


# --- the head ---


def _title(now: Json, found: list[Finding]) -> str:
    wrong = sum(finding.grave for finding in found)
    told = f"✗ {wrong} wrong" if wrong else f"! {len(found)} to look at" if found else "✓ well"
    stopping = ", stopping" if now["state"] == "stopping" else ""
    return f"{told}{stopping} – swf-bridge on {escaped(now['host'])}"


def _headline(now: Json, found: list[Finding]) -> str:
    wrong = [finding for finding in found if finding.grave]
    kind, sign, told = "good", "✓", "All is well"
    if wrong:
        kind, sign, told = "bad", "✗", text(wrong[0].title)
        if more := len(wrong) - 1:
            told += f", and {counted(more, 'more thing is', 'more things are')} wrong"
    elif found:
        kind, sign = "warn", "!"
        told = f"It works; {counted(len(found), 'thing wants', 'things want')} a look"
    if now["state"] == "stopping":
        drains = "the daemon drains and will stop"
        told = f"{told}; {drains}" if wrong else drains.capitalize()
    return f'<p id="state" role="status" class="{kind}">{_sign(sign)} {told}</p>'


def _facts(now: Json) -> str:
    return (
        f"as of {_moment(now['now'])} · up {span(now['now'] - now['startedAt'])} · "
        f"version {text(now['version'])} · pid {now['pid']}"
    )


def _glance(now: Json) -> str:
    lists, checks = now["lists"], now["checks"]
    polling = sum(each["pollerStates"].get("polling", 0) for each in lists)
    pollers = sum(each["pollers"] for each in lists)
    polls_well = all(each["ok"] for each in checks.values() if each.get("kind") == Kind.POLLS)
    away = [each for each in now["broker"] if not each["connected"]]
    blocked = any(each["blocked"] for each in now["broker"])
    held = now["replies"]["held"]
    taken = checks.get("answers", {"ok": True})["ok"]
    in_flight = sum(each["inFlight"] for each in lists)
    sign = "✗" if not polls_well else "✓" if polling else "!"
    broker = ("✗", "blocked" if blocked else "away") if away else ("✓", "connected")
    journal = ("✓", f"{now['journal']['tasks']} in hand")
    if not now["journal"]["writable"]:
        journal = ("✗", "cannot be written")
    tiles = (
        ("Polls of SWF", sign, f"{polling} of {pollers} pollers poll"),
        ("RabbitMQ", *broker),
        ("Journal", *journal),
        ("In flight", "", counted(in_flight, "task", "tasks")),
        ("Answers", "✗" if not taken else "!" if held else "✓", f"{held} wait for SWF"),
    )
    return "".join(
        f"<li>{_sign(sign) if sign else ''} {name} <strong>{told}</strong></li>"
        for name, sign, told in tiles
    )


# --- the sections ---


def _wrong_heading(found: list[Finding]) -> str:
    return "What is wrong" if found[0].grave else "What wants a look"


def _wrong(found: list[Finding]) -> str:
    return f"<ul>{''.join(map(_finding, found))}</ul>"


def _finding(finding: Finding) -> str:
    kind = "bad" if finding.grave else "warn"
    told = f'<li class="{kind}-item"><h3 class="{kind}">{_sign("✗" if finding.grave else "!")} '
    told += f"{text(finding.title)}</h3>"
    for name, words in (("", finding.detail), ("Tasks", finding.tasks), ("Do", finding.todo)):
        if words:
            head = f"<strong>{name}:</strong> " if name else ""
            shown = _COMMAND.sub(r"<code>\1</code>", text(words)) if name else text(words)
            told += f'<p class="{"do" if name else "detail"}">{head}{shown}</p>'
    if finding.alert:
        told += f'<p class="more">More: {text(more_about(finding.alert))}</p>'
    return f"{told}</li>"


def _lists(now: Json) -> str:
    heads = (
        "Task list", "Polled?", "Pollers", "In flight", "Oldest", "Time left", "Last poll", "Tasks",
    )  # fmt: skip
    return _table(
        "Each task list: whether it is polled, and what it holds",
        heads,
        (_list(each, now["now"], now["startedAt"]) for each in by_trouble(now["lists"])),
    )


def _list(row: Json, now: float, started: float) -> Iterator[str]:
    name = f"{row['domain']}/{row['taskList']}"
    yield text(name)
    why = row["notPolled"]
    full = row["slots"] and row["inFlight"] >= row["slots"]
    sign = _sign("!" if full or row.get("paused") or is_held_by_demand(row) else "✗")
    yield f"{sign} no: {text(why)}" if why else f"{_sign('✓')} yes"
    yield f"{row['pollerStates'].get('polling', 0)} of {row['pollers']}"
    owed = f", {row['owed']} not yet with RabbitMQ" if row["owed"] else ""
    yield f"{row['inFlight']} of {row['slots']}{' – full' if full else ''}{owed}"
    yield _ago(now, row["oldest"], "none", suffix="")
    left = row["timeLeft"]
    yield "–" if left is None else span(left) if left > 0 else f"{_sign('!')} none"
    yield _ago(now, row["lastPoll"], "never")
    rate = _rate(row["polled"] / max(1.0, now - started))
    yield (
        f'{row["polled"]} in all, <span data-rate="{escaped(name)}" data-count="{row["polled"]}"'
        f' data-at="{now}">{rate} on average</span>'
        if row["polled"]
        else "none yet"
    )


def _unroutable(keys: Iterable[Json]) -> str:
    told = "Routing keys that no queue takes: bind one, or the tasks are failed in SWF"
    rows = (
        (
            text(each["key"]),
            text(each["reason"]),
            f"{counted(each['tasks'], 'task', 'tasks')} for {span(each['seconds'])}",
            "waits on" if each["failsIn"] is None else f"in {span(each['failsIn'])}",
        )
        for each in keys
    )
    return _table(told, ("Routing key", "Reason", "Waiting", "First is failed"), rows)


def _peers(now: Json) -> str:
    rows = [(text(f"RabbitMQ, {each['name']}"), *_peer(each)) for each in now["broker"]]
    journal = now["journal"]
    good = f"{_sign('✓')} writable" if journal["writable"] else f"{_sign('✗')} cannot be written"
    held = (
        f"{counted(journal['tasks'], 'task', 'tasks')}, {journal['owed']} owed to RabbitMQ,"
        f" {journal['size'] / 1e6:.1f} MB, {text(journal['path'])}"
    )
    told = "Connections to RabbitMQ, and the journal"
    return _table(told, ("What", "State", "Detail"), [*rows, ("Journal", good, held)])


def _peer(each: Json) -> tuple[str, str]:
    times = counted(each["reconnects"], "time", "times")
    detail = f"connected again {times}" if each["reconnects"] else "never lost"
    if each["connected"]:
        return f"{_sign('✓')} connected", detail
    if each["blocked"]:
        return f"{_sign('✗')} blocked by RabbitMQ", "it is low on memory or disk"
    return f"{_sign('✗')} away for {span(each['awayFor'])}", text(each["error"] or "connecting")


def _replies(now: Json) -> str:
    held = now["replies"]["held"]
    items = (
        f"Since the start: {_counts(now['replies']['outcomes']) or 'none'}.",
        f"{_sign('!' if held else '✓')} {counted(held, 'answer', 'answers')} kept until SWF takes"
        " them.",
        _dead_letters(now),
    )
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _dead_letters(now: Json) -> str:
    dead = now["deadLetters"]
    standing, codes = dead["standing"], _counts(dead["codes"])
    told = "How many dead letters stand in the queue is not known yet"
    if standing is not None:
        stand = counted(standing, "dead letter stands", "dead letters stand")
        told = f"{stand} in {text(dead['queue'])}, as of {_ago(now['now'], dead['asOf'], '')}"
    sign = _sign("!" if standing else "✓") if standing is not None else ""
    return f"{sign} {told}; put there since the start: {codes or 'none'}."


def _counts(counts: Mapping[str, int]) -> str:
    words = (f"{n} {text(name.replace('_', '-'))}" for name, n in counts.items() if n)
    return ", ".join(words)


def _errors(now: Json) -> str:
    rows = [
        (
            f"{_ago(now['now'], each['at'], '')} <small>{_moment(each['at'])}</small>",
            f"{text(each['level'])}: <code>{text(each['event'])}</code>",
            ", ".join(
                f"<span class=name>{text(name)}</span> {text(told)}"
                for name, told in each["fields"].items()
            ),
        )
        for each in now["lastErrors"]
    ]
    if not rows:
        return "<p>None since the start.</p>"
    return _table("The newest first", ("When", "What", "Fields"), rows)


# --- the pieces ---


def _section(name: str, heading: str, body: str) -> str:
    return (
        f'<section id="{name}" aria-labelledby="{name}-heading" data-live>'
        f'<h2 id="{name}-heading">{heading}</h2>{body}</section>\n'
    )


def _empty(name: str) -> str:
    return f'<section id="{name}" data-live></section>\n'


def _table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table with explicit ARIA roles, as the block layout for phones removes implicit roles."""
    heads = tuple(heads)
    top = "".join(f'<th scope="col" role="columnheader">{head}</th>' for head in heads)
    body = "".join(f'<tr role="row">{_cells(heads, row)}</tr>' for row in rows)
    return (
        f'<table role="table"><caption>{caption}</caption>'
        f'<thead role="rowgroup"><tr role="row">{top}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def _cells(heads: tuple[str, ...], row: Iterable[str]) -> str:
    return "".join(
        f'<th scope="row" role="rowheader">{cell}</th>'
        if index == 0
        else f'<td role="cell" data-head="{heads[index]}">{cell}</td>'
        for index, cell in enumerate(row)
    )


def _sign(sign: str) -> str:
    """A sign, hidden from screen readers: the words next to it say the same."""
    kind = {"✓": "good", "✗": "bad", "!": "warn"}[sign]
    return f'<span class="sign {kind}" aria-hidden="true">{sign}</span>'


def _ago(now: float, then: float | None, never: str, suffix: str = " ago") -> str:
    return never if then is None else f"{span(now - then)}{suffix}"


def _rate(rate: float) -> str:
    for unit, seconds in (("second", 1), ("minute", 60)):
        if rate * seconds >= 1:
            return f"{rate * seconds:.1f} a {unit}"
    return f"{rate * 3600:.1f} an hour"


def _moment(at: float) -> str:
    told = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    return f'<time datetime="{told}">{told[:10]} {told[11:19]} UTC</time>'

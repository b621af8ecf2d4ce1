"""The page at ``/``, for a person in trouble at night: a snapshot as HTML. Pure.

One document without outside assets. It is whole without its script, which only keeps it fresh: it
asks for the page again and takes over the sections that have changed, so that there is one
rendering, and a screen reader hears of a change of the headline alone. All that is told was
redacted where the snapshot was taken (``bridge/snapshot.py``); here it is escaped.
"""

import base64
import hashlib
import html
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any

Json = Mapping[str, Any]

STYLE = (files("bridge") / "page.css").read_text()
SCRIPT = (files("bridge") / "page.js").read_text()

_MEANS = {
    "threads": "A thread is stuck. The service manager's watchdog starts the daemon again.",
    "broker publisher": "No list is polled until RabbitMQ takes tasks again. Tasks in hand stand"
    " in the journal: none is lost.",
    "broker consumer": "Answers of workers wait in RabbitMQ: none is lost.",
    "broker demand": "Lists that follow a queue are not polled until it can be looked at.",
    "journal": "No list is polled until the journal takes writes. Answers go on. Look for free"
    " disk space and for the file's owner.",
    "answers": "Answers of workers are kept, and sent to SWF again and again.",
    "polls": "SWF keeps the tasks of this list meanwhile; their schedule-to-start clocks run.",
}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


POLICY = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)};"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own style and script, and nothing else."""


def render(now: Json) -> str:
    """Return the page for a snapshot (``bridge/snapshot.py``)."""
    wrong = {name: check["detail"] for name, check in now["checks"].items() if not check["ok"]}
    sections = "".join(
        (
            _section("wrong", "What is wrong", _wrong(wrong)) if wrong else _empty("wrong"),
            _section("lists", "Task lists", _lists(now)),
            _section("unroutable", "Tasks without a queue", _unroutable(now["unroutable"])),
            _section("peers", "RabbitMQ and journal", _peers(now)),
            _section("replies", "Answers of workers", _replies(now)),
            _section("errors", "Last warnings and errors", _errors(now)),
        )
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_title(now, wrong)}</title><style>{STYLE}</style></head>\n<body>"
        f"<header><h1>swf-bridge</h1>{_headline(now, wrong)}"
        f'<p id="facts" data-live>{_facts(now)}</p></header>\n<main>{sections}</main>\n'
        '<footer><nav aria-label="As plain text"><ul>'
        + "".join(
            f'<li><a href="{path}">{path}</a></li>'
            for path in ("/livez", "/readyz", "/metrics", "/status.json")
        )
        + f"</ul></nav></footer>\n<script>{SCRIPT}</script></body></html>\n"
    )


# --- the head ---


def _title(now: Json, wrong: Json) -> str:
    count = f"✗ {len(wrong)} wrong" if wrong else "✓ well"
    return f"{count} – swf-bridge {_escaped(now['state'])}"


def _headline(now: Json, wrong: Json) -> str:
    told = f"{_count(len(wrong), 'thing is', 'things are')} wrong" if wrong else "All is well"
    stopping = now["state"] == "stopping"
    kind, sign = ("bad", "✗") if wrong else ("warn", "!") if stopping else ("good", "✓")
    drains = "; the daemon drains and will stop" if stopping else ""
    return f'<p id="state" role="status" class="{kind}">{_sign(sign)} {told}{drains}</p>'


def _facts(now: Json) -> str:
    lists = now["lists"]
    polling = sum(each["pollerStates"].get("polling", 0) for each in lists)
    pollers = sum(each["pollers"] for each in lists)
    return (
        f"{polling} of {pollers} pollers poll · "
        f"{_count(sum(each['inFlight'] for each in lists), 'task', 'tasks')} in flight · "
        f"up {_span(now['now'] - now['startedAt'])} · version {_text(now['version'])} · "
        f"pid {now['pid']} · as of {_moment(now['now'])}"
    )


def _wrong(wrong: Json) -> str:
    items = (
        f"<li>{_sign('✗')} <strong>{_text(name)}</strong>: {_text(detail)}"
        f"<p>{_means(name)}</p></li>"
        for name, detail in wrong.items()
    )
    return f"<ul>{''.join(items)}</ul>"


def _means(name: str) -> str:
    return _MEANS.get(name) or _MEANS.get(name.partition(" ")[0], "")


# --- the sections ---


def _lists(now: Json) -> str:
    heads = ("Task list", "Polled?", "Pollers", "In flight", "Oldest", "Last poll", "Tasks")
    return _table(
        "Each task list: whether it is polled, and what it holds",
        heads,
        (_list(each, now["now"], now["startedAt"]) for each in now["lists"]),
    )


def _list(row: Json, now: float, started: float) -> Iterator[str]:
    name = f"{row['domain']}/{row['taskList']}"
    yield _text(name)
    why = row["notPolled"]
    yield f"{_sign('✗')} no: {_text(why)}" if why else f"{_sign('✓')} yes"
    states = (f"{count} {_text(state)}" for state, count in row["pollerStates"].items())
    yield ", ".join(states) or "none"
    full = row["slots"] and row["inFlight"] >= row["slots"]
    yield f"{row['inFlight']} of {row['slots']} slots{' – full' if full else ''}"
    yield _ago(now, row["oldest"], "none", suffix="")
    yield _ago(now, row["lastPoll"], "never")
    rate = row["polled"] / max(1.0, now - started)
    yield (
        f'{row["polled"]} since start, <span data-rate="{_escaped(name)}"'
        f' data-count="{row["polled"]}" data-at="{now}">{rate:.1f} a second on average</span>'
    )


def _unroutable(keys: Iterable[Json]) -> str:
    rows = [
        (_text(each["key"]), _text(each["reason"]), f"for {_span(each['seconds'])}")
        for each in keys
    ]
    if not rows:
        return "<p>None.</p>"
    told = "Routing keys that no queue takes: bind one, or the tasks are failed in SWF"
    return _table(told, ("Routing key", "Reason", "Waiting"), rows)


def _peers(now: Json) -> str:
    rows = [(_text(f"RabbitMQ, {each['name']}"), *_peer(each)) for each in now["broker"]]
    journal = now["journal"]
    good = f"{_sign('✓')} writable" if journal["writable"] else f"{_sign('✗')} cannot be written"
    held = (
        f"{_count(journal['tasks'], 'task', 'tasks')}, {journal['owed']} owed to RabbitMQ,"
        f" {journal['size'] / 1e6:.1f} MB, {_text(journal['path'])}"
    )
    told = "Connections to RabbitMQ, and the journal"
    return _table(told, ("What", "State", "Detail"), [*rows, ("Journal", good, held)])


def _peer(each: Json) -> tuple[str, str]:
    times = _count(each["reconnects"], "time", "times")
    detail = f"connected again {times}" if each["reconnects"] else "–"
    if each["connected"]:
        return f"{_sign('✓')} connected", detail
    if each["blocked"]:
        return f"{_sign('✗')} blocked by RabbitMQ", "it is low on memory or disk"
    return f"{_sign('✗')} away for {_span(each['awayFor'])}", _text(each["error"] or "connecting")


def _replies(now: Json) -> str:
    held = now["replies"]["held"]
    sign = _sign("!") if held else _sign("✓")
    dead, codes = now["deadLetters"]["sinceStart"], now["deadLetters"]["codes"]
    text = f"<p>{sign} {_count(held, 'answer', 'answers')} kept until SWF takes them.</p>"
    text += _counts("Answers since the start, by outcome", "Outcome", now["replies"]["outcomes"])
    text += f"<p>{_sign('!') if dead else _sign('✓')} {_count(dead, 'dead letter', 'dead letters')}"
    text += " since the start.</p>"
    return text + _counts("Dead letters since the start, by error code", "Code", codes)


def _counts(caption: str, head: str, counts: Mapping[str, int]) -> str:
    rows = [(_text(name), str(count)) for name, count in counts.items() if count]
    return _table(caption, (head, "Count"), rows) if rows else ""


def _errors(now: Json) -> str:
    rows = [
        (
            f"{_moment(each['at'])}, {_ago(now['now'], each['at'], '')}",
            f"{_text(each['level'])}: <code>{_text(each['event'])}</code>",
            ", ".join(f"{_text(name)} {_text(told)}" for name, told in each["fields"].items()),
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
    """Return a table; its roles are given, for on a phone its rows are shown as blocks."""
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
    """A sign for the eye; the words next to it say the same."""
    kind = {"✓": "good", "✗": "bad", "!": "warn"}[sign]
    return f'<span class="sign {kind}" aria-hidden="true">{sign}</span>'


def _escaped(told: object) -> str:
    """Text from elsewhere, fit for an attribute: escaped and without control characters."""
    return html.escape(_CONTROLS.sub("\ufffd", str(told)))


def _text(told: object) -> str:
    """Text from elsewhere: escaped, and with a direction of its own."""
    return f"<bdi>{_escaped(told)}</bdi>"


def _count(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _ago(now: float, then: float | None, never: str, suffix: str = " ago") -> str:
    return never if then is None else f"{_span(now - then)}{suffix}"


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def _moment(at: float) -> str:
    told = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    return f'<time datetime="{told}">{told[:10]} {told[11:19]} UTC</time>'

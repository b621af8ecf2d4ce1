"""Logs to standard error: one event with fields a record, for journald, a terminal or a machine.

The record's message is the event and its ``extra`` holds the fields. Every output is redacted.
Foreign libraries are logged only from WARNING up: below that botocore prints whole requests, with
tokens and results.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from bridge.telemetry.redact import redact, redact_value
from bridge.telemetry.stderr import Stderr

Format = Literal["auto", "journald", "text", "json"]

log = logging.getLogger(__name__)

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_COLOURS = {"WARNING": "\33[33m", "ERROR": "\33[31m", "CRITICAL": "\33[1;31m", "DEBUG": "\33[2m"}
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LONGEST = 2000
"""Characters of a field's value or an event that are shown; the rest is cut off."""
_encode = json.JSONEncoder(check_circular=False).encode


def configure_logging(level: str = "INFO", format: Format = "auto") -> None:  # noqa: A002
    """Log to standard error: our records from ``level`` up, others' never below WARNING.

    Uncaught exceptions are logged too.

    ``auto`` is journald if standard error is a stream of the journal, text on a terminal, else JSON
    lines. A closed, broken or unread standard error never makes a log call raise or block.
    """
    logging.raiseExceptions = False
    # No format shows file or process, so logging need not look them up (HOWTO, "Optimization").
    logging._srcfile = None
    logging.logProcesses = logging.logMultiprocessing = False
    handler = Stderr()
    handler.setFormatter(_formatter(format, handler.fd))
    root = logging.getLogger()
    for each in _sinks():
        each.close()
    root.handlers[:] = [handler]
    ours = logging.getLogger("bridge")
    ours.setLevel(level)
    root.setLevel(max(ours.level, logging.WARNING))
    # pika logs each failed connection seven times, with errors that we log once ourselves.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.captureWarnings(True)
    _catch_uncaught()


def dropped() -> int:
    """The number of lines dropped since the start because standard error did not take them."""
    return sum(each.dropped for each in _sinks())


def _sinks() -> list[Stderr]:
    return [each for each in logging.getLogger().handlers if isinstance(each, Stderr)]


def print_errors(*lines: str) -> None:
    """Write to standard error why a command ends; journald records each line as an error."""
    prefix = "<3>" if _is_journal(2) else ""
    sys.stderr.writelines(f"{prefix}{line}\n" for line in lines)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the record's ``extra``, redacted and in types that JSON can hold."""
    given = {key: value for key, value in vars(record).items() if key not in _OWN}
    found = redact_value(given)
    assert isinstance(found, dict)
    return {key: _cut(value) for key, value in found.items()}


class TextFormatter(logging.Formatter):
    """``time level event key=value …`` in aligned columns, for people."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Implement ``Formatter.format``."""
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        line = f"{time} {record.levelname:<8} {_event(record):<24} {_pairs(fields_of(record))}"
        text = "\n".join([line.rstrip(), *_exception(record)])
        start = _COLOURS.get(record.levelname) if self.colour else None
        return f"{start}{text}\33[0m" if start else text


class JournaldFormatter(logging.Formatter):
    """``<N>event key=value …``: every line begins with the priority that journald parses."""

    def format(self, record: logging.LogRecord) -> str:
        """Implement ``Formatter.format``."""
        fields = {**fields_of(record), "thread": record.threadName}
        lines = [f"{_event(record)} {_pairs(fields)}", *_exception(record)]
        prefix = f"<{next((n for floor, n in _PRIORITIES if record.levelno >= floor), 7)}>"
        return "\n".join(prefix + line for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, logger, thread and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Implement ``Formatter.format``."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": _event(record),
            "logger": record.name,
            "thread": record.threadName,
        }
        for key, value in fields_of(record).items():
            line[f"{key}_" if key in line else key] = value
        if exception := _exception(record):
            line["exception"] = "\n".join(exception)
        return _encode(line)


def _formatter(format: Format, fd: int) -> logging.Formatter:  # noqa: A002
    on_terminal = fd >= 0 and os.isatty(fd)
    if format == "auto":
        format = "journald" if _is_journal(fd) else "text" if on_terminal else "json"  # noqa: A001
    if format == "json":
        return JsonFormatter()
    if format == "journald":
        return JournaldFormatter()
    return TextFormatter(colour=on_terminal and not os.environ.get("NO_COLOR"))


def _is_journal(fd: int) -> bool:
    """Whether ``fd`` is the journal's stream, by $JOURNAL_STREAM (systemd.exec(5))."""
    try:
        stat = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


def _event(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 — a foreign library's arguments may not fit its message
        message = str(record.msg)
    return printable(str(_cut(redact(message))))


def _pairs(fields: Mapping[str, object]) -> str:
    return " ".join(f"{printable(key)}={_shown(value)}" for key, value in fields.items())


def _shown(value: object) -> str:
    """Write a value as one word: as JSON if it is empty or holds spaces or special characters."""
    if isinstance(value, str):
        plain = value.isprintable() and value and not any(c in value for c in ' "=\\')
        return value if plain else json.dumps(value, ensure_ascii=not value.isprintable())
    return _encode(value)


def printable(text: str) -> str:
    """Escape line ends and control characters: a name in SWF may hold them to forge log lines."""
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _cut(value: object) -> object:
    is_long = isinstance(value, str) and len(value) > _LONGEST
    return f"{value[:_LONGEST]}…" if is_long else value  # type: ignore[index]


def _exception(record: logging.LogRecord) -> list[str]:
    """Return the lines of the record's traceback, redacted as a whole."""
    if not record.exc_info or record.exc_info[1] is None:
        return []
    text = redact("".join(traceback.format_exception(record.exc_info[1])))
    return [printable(line) if not line.isprintable() else line for line in text.splitlines()]


def _catch_uncaught() -> None:
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        log.critical("exception.uncaught", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else "?"
        exc_info = (args.exc_type, args.exc_value, args.exc_traceback)
        log.critical("exception.uncaught", exc_info=exc_info, extra={"where": name})


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    if args.exc_value is not None:
        exc_info = (args.exc_type, args.exc_value, args.exc_traceback)
        log.error("exception.unraisable", exc_info=exc_info, extra={"where": repr(args.object)})

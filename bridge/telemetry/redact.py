"""Removes passwords, tokens, inputs and results from texts and values before they are output.

No code of the bridge puts these into a log, an error, an event or a page. This module is the second
line of defence, against exceptions and libraries that quote their arguments. If in doubt it removes
too much. Texts may be hostile: the time taken is proportional to their length.
"""

import json
import re
from collections.abc import Mapping
from math import isfinite
from urllib.parse import quote, unquote

MARK = "[redacted]"
SHORTEST = 4
"""Characters of the shortest secret removed: a shorter one would occur in ordinary words."""

_PUBLIC = frozenset({"guest"})  # RabbitMQ's default password is no secret
_LOGIN = (
    r"(?:swf[-_])?task[-_ ]?token|passw(?:or)?d|authorization|x-amz-security-token"
    r"|(?:aws[-_])?(?:secret|session)[-_](?:access[-_])?(?:key|token)"
)
_KEYS = rf"{_LOGIN}|input|result|details"
_KEY = re.compile(rf"(?:{_KEYS})\Z", re.IGNORECASE)
_WORD = re.compile(r"[^\s'\"<>]+")
_LOGIN_OF_URL = re.compile(r"(?i)[a-z][a-z0-9+.-]{1,20}://[^:/@]*+:")
_PATTERNS = (
    # A quoted key, as in JSON, in a repr, or in either quoted again. Removes a string to its end,
    # an array or object to the end of the text, else one word.
    (
        re.compile(
            rf"""(?isx)((?:{_KEYS})\\*["']\s*:\s*)
            (?: b?(\\*)(["']) .*? (?: (?<!\\)\2\3 | \Z) | [\[{{].* | [^\s,}}\]]+ )"""
        ),
        rf"\1{MARK}",
    ),
    # A header or an assignment: removes the rest of the line.
    (re.compile(rf"(?i)\b({_LOGIN})(\s*[=:]\s*)[^\n]+"), rf"\1\2{MARK}"),
    # botocore's words for an argument that it refuses: removes the rest of the text.
    (re.compile(rf"(?is)\b(parameter (?:{_KEYS}), value:).*"), rf"\1 {MARK}"),
)
_QUOTED = re.compile(r"(?i)\bvalue '")
_QUOTED_TO = "' at '"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s:/@]*:(?P<password>.*)@", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
_SUSPECT = re.compile(r"(?i)://|token|passw|authoriz|secret|session|input|result|details|value")
_RUN = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/=_-]{80,}")

_secrets: frozenset[str] = frozenset()
_secret_pattern: re.Pattern[str] | None = None


def register_secret(secret: str) -> None:
    """Remove ``secret`` from all later texts: plain, percent-encoded, in JSON and as ``repr``.

    If it is a URL, the secret is its password; a URL without one has no secret.
    """
    global _secrets, _secret_pattern  # noqa: PLW0603 — one process, one set of secrets
    if url := _URL.match(secret):
        secret = url["password"]
    elif _SCHEME.match(secret):
        return  # as a secret, it would hide the login of which it is the beginning from _URL
    plain = unquote(secret)
    spellings = {secret, plain, quote(plain), quote(plain, safe=""), repr(plain)[1:-1]}
    spellings |= {json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1]}
    _secrets |= {each for each in spellings if len(each) >= SHORTEST} - _PUBLIC
    if _secrets:
        longest_first = sorted(_secrets, key=len, reverse=True)
        _secret_pattern = re.compile("|".join(map(re.escape, longest_first)))


def redact(text: str) -> str:
    """Return ``text`` with MARK in place of each secret and whatever looks like one."""
    if _secret_pattern is not None:
        text = _secret_pattern.sub(MARK, text)
    if not text.isalnum() and _SUSPECT.search(text):
        if "@" in text:
            text = _WORD.sub(_without_password, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        text = _without_quoted(text)
    return _RUN.sub(_run, text) if len(text) >= 80 else text


def redact_value(value: object) -> object:
    """Return a redacted copy in JSON's types. A key that names a secret hides its whole value."""
    if isinstance(value, str):  # the most frequent type of a log line, so tested first
        return redact(value)
    match value:
        case None | bool() | int():
            found: object = value
        case float():
            found = value if isfinite(value) else str(value)
        case bytes() | bytearray():
            found = f"<{len(value)} bytes>"
        case Mapping():
            found = {str(key): _redact_item(str(key), item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            found = [redact_value(item) for item in value]
        case _:
            found = redact(str(value))
    return found


def _without_password(word: re.Match[str]) -> str:
    """A URL without its password, which ends at the last "@": it may hold an unescaped "@"."""
    text = word.group()
    at = text.rfind("@")
    login = _LOGIN_OF_URL.search(text, 0, max(at, 0))
    return f"{text[: login.end()]}{MARK}{text[at:]}" if login else text


def _without_quoted(text: str) -> str:
    """A text without the argument that SWF refuses and quotes: ``value '…' at '…'``."""
    end = text.rfind(_QUOTED_TO)
    begin = _QUOTED.search(text, 0, max(end, 0))
    return f"{text[: begin.end()]}{MARK}{text[end:]}" if begin else text


def _redact_item(key: str, value: object) -> object:
    return MARK if value and _KEY.match(key) else redact_value(value)


def _run(match: re.Match[str]) -> str:
    """Replace a run that looks like a token of SWF: base64, unlike paths and names."""
    run = match.group()
    mixed = any(c.isupper() for c in run) and any(c.islower() for c in run)
    is_path = run.count("/") > len(run) / 20
    return MARK if mixed and any(c.isdigit() for c in run) and not is_path else run

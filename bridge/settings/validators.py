"""Checks and parsers of the settings' values; pure, without knowledge of the settings class.

Each function returns a valid value, else raises ``ValueError`` with a sentence to be printed after
the variable's name (``must be …``). No sentence repeats a part of the value: it may be secret.
"""

import re
import string
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from pydantic import AfterValidator, SecretStr

from bridge.bounds import decode_json

YEAR = 31_536_000  # seconds; SWF's limit for a workflow execution
ROUTING_KEY_FIELDS = ("domain", "task_list", "name", "version")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*")
_RESERVED = "in a user, password or virtual host / is written %2F, ? %3F, # %23, @ %40, comma %2C"


class HttpAddress(NamedTuple):
    """The address at which HTTP is served."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``host:port``, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def utf16_length(text: str) -> int:
    """Count UTF-16 code units, in which SWF's limits are given."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _in_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can hold
        raise ValueError("must be text in UTF-8") from None


def utf8(value: str) -> str:
    """Accept text that was decoded from valid UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid UTF-8") from None
    return value


def identity(value: str) -> str:
    """Accept a poller's identity: 1 to 256 characters, SWF's limit."""
    if not 1 <= utf16_length(value) <= 256:
        raise ValueError("must have 1 to 256 characters")
    return value


def swf_name(value: str) -> str:
    """Accept a name that SWF allows for a domain or task list (API Reference, TaskList)."""
    _in_utf8(identity(value))
    if value != value.strip():
        raise ValueError("must not start or end with white space")
    if any(char in value for char in ":/|"):
        raise ValueError("must not contain any of : / |")
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    if value == "arn":
        raise ValueError("must not be the word arn, which SWF reserves")
    return value


def entries(text: str) -> object:
    """Parse ``a,b`` or a JSON array; the caller checks the entries."""
    if not text.lstrip().startswith("["):
        return text.split(",")
    try:
        return decode_json(text)
    except ValueError:
        raise ValueError("begins with [ but is not a JSON array") from None


def amqp_name(value: str) -> str:
    """Accept the name of an exchange or a queue: a non-empty AMQP short string."""
    if not 1 <= len(_in_utf8(value)) <= 255:
        raise ValueError("must have 1 to 255 bytes in UTF-8")
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    return value


def routing_key_template(value: str) -> str:
    """Accept a template like ``{name}.{version}``; ``{{`` and ``}}`` stand for braces."""
    fields = " ".join(f"{{{field}}}" for field in ROUTING_KEY_FIELDS)
    try:
        parts = list(string.Formatter().parse(value))
    except ValueError:
        raise ValueError("has a single brace: write {{ or }} for the character itself") from None
    for _, field, spec, conversion in parts:
        if field is not None and (field not in ROUTING_KEY_FIELDS or spec or conversion):
            raise ValueError(f"may hold only the plain fields {fields}")
    return value


def amqp_urls(value: str) -> tuple[str, ...]:
    """Split a comma-separated list of AMQP URLs and check each URL."""
    urls = tuple(url.strip() for url in value.split(","))
    for number, url in enumerate(urls, 1):
        try:
            _amqp_url(url)
        except ValueError as error:
            which = f"URL {number} of {len(urls)} " if len(urls) > 1 else ""
            raise ValueError(f"{which}{error}") from None
    return urls


def _amqp_url(url: str) -> None:
    if not url.startswith(("amqp://", "amqps://")):
        raise ValueError(f"must begin with amqp:// or amqps:// ({_RESERVED})")
    if _CONTROL.search(url) or " " in url:
        raise ValueError("must not contain blanks or control characters: percent-encode them")
    parts = _split(url)
    if "?" in url:  # the bridge sets heartbeats and time-outs; TLS has settings of its own
        raise ValueError(f"may carry no options ({_RESERVED})")
    if "#" in url or "@" in parts.path or "/" in parts.path[1:]:
        raise ValueError(f"must be amqp://user:password@host:port/vhost ({_RESERVED})")
    if (parts.username is None) != (parts.password is None) or parts.username == "":
        raise ValueError("must name a user with a password, or neither")
    for text in (parts.username, parts.password, parts.path):
        _check_escapes(text or "")


def _split(url: str) -> SplitResult:
    """Split a URL (RFC 3986). Raises ValueError without a usable host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # urlsplit's error quotes the URL
        raise ValueError(f"has no usable host or port ({_RESERVED})") from None
    if not parts.hostname or port == 0:
        raise ValueError("has no usable host or port")
    return parts


def _check_escapes(text: str) -> None:
    if _BAD_ESCAPE.search(text):
        raise ValueError("has a % that is not followed by two hex digits: write %25")
    try:
        unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError("has a percent-encoded byte that is not UTF-8") from None


def keepalive(value: object) -> float:
    """Parse seconds; ``off`` is 0."""
    if isinstance(value, str) and value.lower() == "off":
        return 0
    try:
        seconds = float(value) if isinstance(value, str | int | float) else -1
    except (ValueError, OverflowError):
        seconds = -1
    if isinstance(value, bool) or not (seconds == 0 or 1 <= seconds <= YEAR):
        raise ValueError(f"must be off or a number from 1 to {YEAR}")
    return seconds


def http_address(value: object) -> object:
    """Parse ``host:port`` or ``[::1]:port``; ``off`` is None."""
    if not isinstance(value, str):
        return value
    if value.lower() == "off":
        return None
    match = re.fullmatch(r"(?:\[([^\]\s]+)\]|([^\[\]:/@\s]+)):([0-9]{1,5})", value)
    if match is None or int(match[3]) > 65535:
        raise ValueError("must be host:port, [IPv6 address]:port or off")
    if match[1] is not None:
        try:
            IPv6Address(match[1])
        except ValueError:
            raise ValueError("must have an IPv6 address between the brackets") from None
    return HttpAddress(match[1] or match[2], int(match[3]))


def host_names(value: object) -> object:
    """Parse host names separated by commas, without scheme, port or wildcard."""
    if not isinstance(value, str):
        return value
    names = tuple(name.strip().rstrip(".").lower() for name in value.split(","))
    for number, name in enumerate(names, 1):
        if not _HOST.fullmatch(name) or len(name) > 253:
            which = f"name {number} of {len(names)} " if len(names) > 1 else ""
            raise ValueError(f"{which}must be a host's name, as bridge.example.net")
    return names


def sentry_dsn(value: str) -> str:
    """Accept ``http(s)://KEY@HOST/PROJECT``, the form of a Sentry DSN."""
    try:
        parts = _split(value)
    except ValueError:
        parts = urlsplit("")
    project = parts.path.rpartition("/")[2]
    if parts.scheme not in ("http", "https") or not parts.username or not project.isdecimal():
        raise ValueError("must be http(s)://KEY@HOST/PROJECT, PROJECT being a number")
    return value


def secret(check: Callable[[str], object]) -> AfterValidator:
    """A validator that applies ``check`` to a secret's text."""

    def checked(value: SecretStr) -> SecretStr:
        check(value.get_secret_value())
        return value

    return AfterValidator(checked)


def without_login_secrets(url: str) -> str:
    """Hide the password of a checked AMQP URL, or the key of a checked DSN."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    user = f"{login.partition(':')[0]}:" if parts.scheme.startswith("amqp") else ""
    return parts._replace(netloc=f"{user}***{at}{host}" if at else host).geturl()

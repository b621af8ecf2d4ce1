"""A command's request to the daemon: one JSON object, read field by field. Pure."""

from collections.abc import Generator, Mapping
from typing import Any

from bridge.bounds import decode_json
from bridge.errors import Declined

LARGEST = 10**12
"""Of a number: JSON has larger ones than floats and SQLite."""
Json = dict[str, Any]
Output = Generator[Json, None, None]
"""Rows and progress, and last the result. It is closed early when the client goes away."""


class Request:
    """The fields of one request; each reader raises Declined for a value of another type.

    A field that is absent or null was not given.
    """

    def __init__(self, fields: Mapping[str, Any], uid: int = -1) -> None:
        self._fields = fields
        self.uid = uid
        """Whose process asks, as the kernel tells it; -1 where nobody could tell."""

    def __repr__(self) -> str:
        return f"<Request {self._fields.get('command')}>"

    @classmethod
    def decode(cls, line: bytes, uid: int = -1) -> "Request":
        """Read a line of the control socket. Raises Declined."""
        try:
            fields = decode_json(line)
        except ValueError:
            raise Declined("usage", "the request is not JSON") from None
        if not isinstance(fields, dict):
            raise Declined("usage", "the request is no JSON object")
        return cls(fields, uid)

    def text(self, name: str) -> str:
        """A string; empty where none was given."""
        return str(self._of(name, str, ""))

    def flag(self, name: str) -> bool:
        """Whether the flag is set."""
        return bool(self._of(name, bool, False))

    def count(self, name: str) -> int | None:
        """A whole number from 1 up."""
        value = self._of(name, int, None)
        if value is not None and (isinstance(value, bool) or not 1 <= value <= LARGEST):
            raise Declined("usage", f"{name} must be a number from 1 to {LARGEST}")
        return None if value is None else int(value)

    def seconds(self, name: str) -> float | None:
        """A span of time."""
        value = self._of(name, (int, float), None)
        if value is not None and (isinstance(value, bool) or not 0 <= value <= LARGEST):
            raise Declined("usage", f"{name} must be a number of seconds, at most {LARGEST}")
        return None if value is None else float(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self._of(name, list, [])
        if not all(isinstance(each, str) for each in values):
            raise Declined("usage", f"{name} must be a list of strings")
        return tuple(values)

    def _of(self, name: str, kind: type | tuple[type, ...], absent: Any) -> Any:
        value = self._fields.get(name)
        if value is None:
            return absent
        if not isinstance(value, kind):
            raise Declined("usage", f"{name} is of the wrong type")
        return value

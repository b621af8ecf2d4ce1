"""A command's request to the daemon: one JSON object, read field by field. Pure."""

from collections.abc import Generator, Mapping
from typing import Any

from bridge.bounds import decode_json
from bridge.errors import Declined

LARGEST = 10**12
"""The largest number in a request: JSON allows numbers too large for floats and SQLite."""
Json = dict[str, Any]
Output = Generator[Json, None, None]
"""Rows and progress, then the result. The server closes it early when the client disconnects."""


class Request:
    """The fields of one request; each reader raises Declined for a value of the wrong type.

    A null field counts as absent.
    """

    def __init__(self, fields: Mapping[str, Any], uid: int = -1) -> None:
        self._fields = fields
        self.uid = uid
        """The user id of the client's process, from the kernel; -1 where it is unknown."""

    def __repr__(self) -> str:
        return f"<Request {self._fields.get('command')}>"

    @classmethod
    def decode(cls, line: bytes, uid: int = -1) -> "Request":
        """Decode a line of the control socket. Raises Declined."""
        try:
            fields = decode_json(line)
        except ValueError:
            raise Declined("usage", "the request is not JSON") from None
        if not isinstance(fields, dict):
            raise Declined("usage", "the request is no JSON object")
        return cls(fields, uid)

    def text(self, name: str) -> str:
        """A string; empty where it is absent."""
        return str(self._of(name, str, ""))

    def flag(self, name: str) -> bool:
        """A boolean; False where it is absent."""
        return bool(self._of(name, bool, False))

    def count(self, name: str) -> int | None:
        """A whole number from 1 to LARGEST; None where it is absent."""
        value = self._of(name, int, None)
        if value is not None and (isinstance(value, bool) or not 1 <= value <= LARGEST):
            raise Declined("usage", f"{name} must be a number from 1 to {LARGEST}")
        return None if value is None else int(value)

    def seconds(self, name: str) -> float | None:
        """Seconds from 0 to LARGEST; None where they are absent."""
        value = self._of(name, (int, float), None)
        if value is not None and (isinstance(value, bool) or not 0 <= value <= LARGEST):
            raise Declined("usage", f"{name} must be a number of seconds, at most {LARGEST}")
        return None if value is None else float(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; empty where it is absent."""
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

"""botocore's data files are read once in each process of the tests.

Each client parses half a megabyte of JSON anew, a third of what most tests of a client cost.
Clients of one session share what was read, and so may those of all.
"""

from typing import Any

from botocore.loaders import JSONFileLoader

_load_file = JSONFileLoader.load_file
_read: dict[str, Any] = {}


def read_once() -> None:
    """From now on, in this process."""

    def load_file(loader: JSONFileLoader, path: str) -> Any:
        if path not in _read and (found := _load_file(loader, path)) is not None:
            _read[path] = found
        return _read.get(path)

    JSONFileLoader.load_file = load_file  # type: ignore[method-assign]

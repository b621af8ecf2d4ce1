"""botocore's data files are read once in each process of the tests, and its folders looked through.

Each client parses half a megabyte of JSON anew, and lists nine hundred folders: together half of
what most tests of a client cost. Clients of one session share what was read, and so may those of
all.
"""

import os
from typing import Any

from botocore.loaders import JSONFileLoader, Loader

_load_file = JSONFileLoader.load_file
_list_services = Loader.list_available_services
_read: dict[str, Any] = {}
_listed: dict[tuple[str, ...], list[str]] = {}


def read_once() -> None:
    """From now on, in this process."""

    def load_file(loader: JSONFileLoader, path: str) -> Any:
        if path not in _read and (found := _load_file(loader, path)) is not None:
            _read[path] = found
        return _read.get(path)

    def list_available_services(loader: Loader, type_name: str) -> list[str]:
        key = type_name, *filter(os.path.isdir, loader.search_paths)
        if key not in _listed:
            _listed[key] = _list_services(loader, type_name)
        return list(_listed[key])

    JSONFileLoader.load_file = load_file  # type: ignore[method-assign]
    Loader.list_available_services = list_available_services  # type: ignore[method-assign]

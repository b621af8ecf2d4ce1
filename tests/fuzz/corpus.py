"""The corpus: for each input of the daemon bytes that are worth to begin with, as files.

`python -m tests.fuzz --grow` adds what reaches lines of the bridge that nothing reached before, and
a case that failed is added when its fault is mended: it stays mended.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).with_name("corpus")


def read(name: str) -> list[bytes]:
    """In the order of the files' names, which are of their content: always the same."""
    return [file.read_bytes() for file in sorted((FOLDER / name).glob("*")) if file.is_file()]


def add(name: str, data: bytes) -> Path:
    """Keep the bytes as a file of the input's."""
    file = FOLDER / name / hashlib.sha256(data).hexdigest()[:16]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def beginning(name: str, seeds: Iterable[bytes]) -> list[bytes]:
    """What cases of the input are made from."""
    return [*seeds, *read(name)]

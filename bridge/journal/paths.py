"""The paths of a journal: names, owners and identities of what stands there, and the lock."""

import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from bridge.errors import ConfigError, PartFailed

log = logging.getLogger(__name__)

FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
"""To open a file of the journal: never a link."""

UNCHANGED = 5_000_000_000
"""Nanoseconds: more than one tick of any file system's clock, which may have whole seconds."""

Identity = tuple[int, int]
"""Device and inode."""


def files_of(path: Path) -> list[Path]:
    """The paths of the journal, its write-ahead log and its shared memory."""
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]


def lock_name(path: Path) -> Path:
    """The path of the lock file."""
    return path.with_name(path.name + ".lock")


def identity(found: os.stat_result) -> Identity:
    """The identity of a file that was examined."""
    return found.st_dev, found.st_ino


def identity_of(file: Path) -> Identity | None:
    """The device and inode of a file; None if it cannot be examined."""
    try:
        return identity(os.stat(file))
    except OSError:
        return None


class KnownFiles:
    """The files that must not be replaced while the journal is open. Any thread may use it."""

    def __init__(self, path: Path) -> None:
        found = ((each, identity_of(each)) for each in (*files_of(path), lock_name(path)))
        self.identities = {each: known for each, known in found if known is not None}
        self._folder = os.fspath(path.parent)
        self._seen: tuple[int, int, int] | None = None
        """The folder as it was when all stood there, if it had been unchanged for UNCHANGED."""

    def gone(self, *, thorough: bool = False) -> str:
        """Name a file that was removed or replaced; empty if none was. Reads no data.

        While nothing comes into the folder or leaves it, only the folder is examined, unless
        ``thorough``. A mount over a file changes no folder.
        """
        folder = self._look_at_folder()
        if folder is not None and folder == self._seen and not thorough:
            return ""
        for file, identity_then in self.identities.items():
            try:
                found = identity(os.stat(file))
            except (FileNotFoundError, NotADirectoryError):
                return f"{file} was removed"
            except OSError:  # no proof that the file is gone
                continue
            if found != identity_then:
                return f"{file} was replaced"
        # A change that comes later has another time only if the file system's clock has moved on.
        unchanged = folder is not None and time.time_ns() - folder[2] > UNCHANGED
        self._seen = folder if unchanged else None
        return ""

    def _look_at_folder(self) -> tuple[int, int, int] | None:
        """Device, inode and time of the last change; None if the folder cannot be examined."""
        try:
            found = os.stat(self._folder)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns


def lock(path: Path, timeout: float) -> int:
    """Lock a file beside the journal, which itself may be renamed aside; return the descriptor.

    Raises PartFailed if another process holds the lock for more than ``timeout`` seconds.
    """
    try:
        descriptor = os.open(lock_name(path), FLAGS, 0o600)
    except OSError as error:
        raise unusable(path, error) from None
    deadline = time.monotonic() + timeout
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise PartFailed(f"another process holds the journal {path}") from None
        if not told:
            told = True
            log.warning("journal.held", extra={"path": str(path), "seconds": timeout})
        time.sleep(min(1.0, timeout))


def rename_aside(path: Path, why: str) -> Path:
    """Rename the files of a journal to ``path.why-TIME``; return the path of the first."""
    aside = path.with_name(f"{path.name}.{why}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for file in files_of(path):
        if file.exists():
            file.rename(file.with_name(file.name.replace(path.name, aside.name)))
    return aside


def unusable(path: Path, error: OSError) -> Exception:
    """Translate an error of opening: ConfigError for a wrong path, PartFailed for the disk."""
    sentence = f"SWF_BRIDGE_JOURNAL: cannot open {path}: {error.strerror}"
    if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
        return ConfigError([sentence])
    return PartFailed(sentence)


def check_owner(files: Iterable[Path]) -> None:
    """Check that existing files belong to this user and the folder to this user or root.

    Raises ConfigError for another owner, and for a symbolic or hard link.
    """
    for file in files:
        if why := _foreign_folder(file.parent) or _foreign(file):
            raise ConfigError([f"SWF_BRIDGE_JOURNAL: {why}"])


def _foreign(file: Path) -> str:
    try:
        found = file.lstat()
    except OSError:  # the file is missing, or opening it will raise the same error
        return ""
    if stat.S_ISLNK(found.st_mode):
        return f"{file} is a symbolic link"
    if found.st_uid != os.geteuid():
        return f"{file} belongs to another user ({found.st_uid})"
    linked = stat.S_ISREG(found.st_mode) and found.st_nlink > 1
    return f"{file} has another name, a hard link" if linked else ""


def _foreign_folder(folder: Path) -> str:
    """Why the folder is refused. ``stat`` follows links: systemd's DynamicUser makes one."""
    try:
        owner = folder.stat().st_uid
    except OSError:
        return ""
    mine = owner in (0, os.geteuid())
    return "" if mine else f"the directory {folder} belongs to another user ({owner})"

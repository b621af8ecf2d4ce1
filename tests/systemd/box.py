"""A real systemd, booted in half a second as PID 1 of namespaces of its own.

It has its own mounts, processes, control group, hostname and journal. It shares the network with
this machine, so that a RabbitMQ and an SWF on loopback are in reach, and /usr (read-only), where it
is not given a root. It is for tests of our own units and no security boundary. It dies with the
process that started it.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.processes import until

INIT = Path(__file__).parent / "box-init.sh"
SYSTEMD = Path("/lib/systemd/systemd")
NAMESPACES = ("--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc")
BOOT_TIMEOUT = 30.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
PR_SET_PDEATHSIG = 1


class BoxError(Exception):
    """Something in the box failed; the message holds what it printed."""


class Box:
    """One booted systemd; `with Box() as box:`.

    `binds` maps folders here to where they stand in the box, read-only; `etc` is copied to /etc.
    With `base`, a root of a Debian that has systemd, it begins as that, which stays as it is.
    """

    def __init__(
        self,
        binds: Mapping[Path, str] | None = None,
        etc: Path | None = None,
        base: Path | None = None,
    ) -> None:
        self._binds = dict(binds or {})
        self._etc = etc
        self._base = base
        self._unshare: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @staticmethod
    def unavailable() -> str | None:
        """Why this machine cannot have one, in one line; None where it can."""
        if os.geteuid() != 0:
            return "not root"
        if missing := [name for name in ("unshare", "nsenter") if shutil.which(name) is None]:
            return f"not in PATH: {', '.join(missing)}"
        if not SYSTEMD.exists():
            return f"no {SYSTEMD} (package systemd)"
        if _cgroup2() is None:
            return "no cgroup2 that may be written to"
        tried = subprocess.run(
            ["unshare", *NAMESPACES, "true"], capture_output=True, text=True, check=False
        )
        if tried.returncode:
            return tried.stderr.strip() or "unshare failed"
        return None if _is_root_of_mounts() else "in a chroot: who enters a box would stand outside"

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="systemd-box-"))
        try:
            self._boot()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._unshare is not None and self._unshare.poll() is None:
            self._unshare.kill()  # --kill-child: its PID 1 goes, and all of the box with that
            self._unshare.wait()
        assert until(self._remove_cgroups), f"{self._cgroup} is left"
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- inside ---

    def path(self, inside: str) -> Path:
        """A path in the box, as it is seen from here."""
        return Path(f"/proc/{self._pid}/root{inside}")

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """A file in the box, with its folders."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def run(
        self, *argv: str, check: bool = True, seconds: float = 100
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the box, as root. Raises BoxError where it fails."""
        done = subprocess.run(
            self.argv(*argv), capture_output=True, text=True, timeout=seconds, check=False
        )
        if check and done.returncode:
            raise BoxError(f"{' '.join(argv)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def argv(self, *argv: str) -> tuple[str, ...]:
        """What runs a program in the box, from here."""
        enter = ("nsenter", "-t", str(self._pid), "-m", "-p", "-u", "-i", "-C")
        clean = ("env", "-i", f"PATH={PATH}", "LANG=C.UTF-8", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
        return *enter, *clean, *argv

    def systemctl(self, *args: str, check: bool = True) -> str:
        """What `systemctl ARGS` prints."""
        return self.run("systemctl", *args, check=check).stdout

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit, as `systemctl show` writes them."""
        told = self.systemctl("show", unit, "--property", ",".join(properties))
        return dict(line.split("=", 1) for line in told.splitlines())

    def journal(self, *args: str) -> list[dict[str, Any]]:
        """The entries that `journalctl ARGS` finds."""
        self.run("journalctl", "--sync")
        told = self.run("journalctl", "--output=json", "--all", *args).stdout
        return [json.loads(line) for line in told.splitlines()]

    # --- boot ---

    def _boot(self) -> None:
        for name in ("root", "disk"):
            (self._folder / name).mkdir()
        base = _cgroup2()
        assert base is not None
        ours = base / _own_cgroup()
        self._cgroup = ours / self._folder.name
        self._cgroup.mkdir()
        console = self._folder / "console"
        with console.open("w") as output:
            self._unshare = subprocess.Popen(
                ["unshare", *NAMESPACES, "--kill-child", INIT],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                preexec_fn=self._enter_cgroup,  # noqa: PLW1509 - before any thread of ours runs in it
            )
        if not until(self._is_up, BOOT_TIMEOUT):
            raise BoxError(f"systemd did not boot: {console.read_text()[-2000:]}")
        # It is the last foreign process in the group that systemd takes for its own.
        (ours / "cgroup.procs").write_text(str(self._unshare.pid))

    def _environment(self) -> dict[str, str]:
        binds = (f"{source}:{target}" for source, target in self._binds.items())
        return {
            "PATH": f"{os.environ['PATH']}:{PATH}",
            "BOX_ROOT": str(self._folder / "root"),
            "BOX_DISK": str(self._folder / "disk"),
            "BOX_BASE": str(self._base or ""),
            "BOX_ETC": str(self._etc or ""),
            "BOX_BINDS": " ".join(binds),
        }

    def _enter_cgroup(self) -> None:
        """In the child, before it becomes unshare: the new cgroup namespace is rooted there."""
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        (self._cgroup / "cgroup.procs").write_text("0")

    def _is_up(self) -> bool:
        assert self._unshare is not None
        if self._unshare.poll() is not None:
            raise BoxError(f"it ended: {(self._folder / 'console').read_text()[-2000:]}")
        task = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}")
        children = (task / "children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text() != "systemd\n":
            return False
        self._pid = int(children[0])
        return self.systemctl("is-system-running", check=False).strip() in ("running", "degraded")

    def _remove_cgroups(self) -> bool:
        try:
            for folder, _, _ in os.walk(self._cgroup, topdown=False):
                os.rmdir(folder)
        except OSError:
            return False
        return True


def listed(entries: Iterable[Mapping[str, Any]]) -> str:
    """Entries of a journal as text, for a test that fails."""
    return "\n".join(f"<{e.get('PRIORITY')}> {e.get('MESSAGE')}" for e in entries)


def _cgroup2() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2" and os.access(fields[4], os.W_OK):
            return Path(fields[4])
    return None


def _is_root_of_mounts() -> bool:
    """Whether who enters the mounts of this process finds its root, which a chroot prevents."""
    root = os.stat("/")
    enter = ["nsenter", "--mount=/proc/self/ns/mnt", "stat", "--format=%d %i", "/"]
    found = subprocess.run(enter, capture_output=True, text=True, check=False)
    return found.stdout.split() == [str(root.st_dev), str(root.st_ino)]


def _own_cgroup() -> str:
    groups = Path("/proc/self/cgroup").read_text().splitlines()
    return next(line[3:].lstrip("/") for line in groups if line.startswith("0::"))

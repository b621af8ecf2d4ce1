"""An instance of the service in a box, as its operator has it: settings, drop-ins, journal."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.processes import until
from tests.systemd.box import Box, listed

Entry = dict[str, Any]
Settings = Callable[..., Mapping[str, object]]


class Service:
    """One unit, and what a test gives it; `forget` takes that back."""

    def __init__(self, box: Box, unit: str, settings: str) -> None:
        self.box = box
        self.unit = unit
        self.settings = f"/etc/swf-bridge/{settings}"
        self._drop_ins = f"/run/systemd/system/{unit}.d"
        self._since = ""

    def configure(self, settings: Mapping[str, object]) -> None:
        """Write the unit's settings anew."""
        lines = (f"{name}='{value}'\n" for name, value in settings.items())
        self.box.write(self.settings, "".join(lines), 0o600)

    def drop_in(self, text: str) -> None:
        """What `systemctl edit --runtime` would."""
        self.box.write(f"{self._drop_ins}/test.conf", text)
        self.box.systemctl("daemon-reload")

    def start(self, *, fails: bool = False) -> None:
        """`systemctl start`, which returns when it is active or has failed."""
        self._since = self.box.run("date", "+%s.%N").stdout.strip()
        self.box.systemctl("start", self.unit, check=False)
        assert self.show("ActiveState") == ("failed" if fails else "active",), self.log

    def stop(self) -> None:
        """`systemctl stop`, which returns when it has ended."""
        self.box.systemctl("stop", self.unit)

    def show(self, *properties: str) -> tuple[str, ...]:
        """Values of the unit's properties."""
        found = self.box.show(self.unit, *properties)
        return tuple(found[name] for name in properties)

    def wait(self, seconds: float = 15, **properties: str) -> None:
        """Return as soon as the unit has these properties."""
        names, wanted = tuple(properties), tuple(properties.values())
        arrived = until(lambda: self.show(*names) == wanted, seconds)
        assert arrived, f"{names}: {self.show(*names)} instead of {wanted}\n{self.log}"

    @property
    def pid(self) -> str:
        """Of its main process, as it is in the box."""
        return self.show("MainPID")[0]

    # --- journal ---

    def entries(self, *match: str) -> list[Entry]:
        """What stands in the journal of this start, of the daemon and of systemd about it."""
        return self.box.journal(f"--unit={self.unit}", f"--since=@{self._since}", *match)

    @property
    def log(self) -> str:
        return listed(self.entries())

    def told(self, event: str) -> list[Entry]:
        """Entries of the daemon that begin with the event."""
        return [each for each in self.entries() if str(each["MESSAGE"]).startswith(f"{event} ")]

    def wait_told(self, event: str, seconds: float = 15, count: int = 1) -> Entry:
        """The event, once it stands in the journal so many times."""
        assert until(lambda: len(self.told(event)) >= count, seconds), f"no {event}:\n{self.log}"
        return self.told(event)[count - 1]

    # --- the end ---

    def forget(self) -> None:
        """As if it had never run."""
        self.box.systemctl("kill", "--signal=KILL", self.unit, check=False)
        self.box.systemctl("stop", self.unit, check=False)
        self.box.systemctl("reset-failed", self.unit, check=False)
        self.box.run("rm", "-rf", self._drop_ins, self.settings, *self._folders())
        self.box.systemctl("daemon-reload")

    def _folders(self) -> list[str]:
        """Those that systemd makes for it; 257's `systemctl clean` wants a D-Bus for that."""
        state, runtime = self.show("StateDirectory", "RuntimeDirectory")
        return [
            f"{above}/{name}"
            for names, place in ((state, "/var/lib"), (runtime, "/run"))
            for name in names.split()
            for above in (place, f"{place}/private")
        ]

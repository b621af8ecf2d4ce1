"""A private RabbitMQ node for tests and demos.

It runs the distribution's RabbitMQ as the current user on loopback, separate from the system's
broker: it has its own node name, ports, cookie, folders and epmd. Its processes and files end with
their owner, even if the owner is killed by SIGKILL.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from bridge.local.keeper import Keeper
from bridge.local.management import HttpApi, NodeError, quoted
from bridge.local.plugins import link_plugins
from bridge.local.ports import free_ports

SCRIPTS = Path("/usr/lib/rabbitmq/bin")
"""RabbitMQ's own scripts in Debian and RPM packages. The wrappers in `/usr/sbin` would switch to
the user rabbitmq and to the system's folders."""

AHEAD = "BROKER_AHEAD"
"""The environment variable that sets the default of RabbitNode's `ahead`."""

BOOT_TIMEOUT = 90.0  # seconds
CTL_TIMEOUT = 60.0  # seconds
ERL_CALL = "erl_call"
"""Part of Debian's Erlang."""

_CONFIG = """\
listeners.tcp.local = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {api_port}
management_agent.disable_metrics_collector = true
disk_free_limit.absolute = 10MB
log.console = false
"""


class RabbitNode(HttpApi):
    """One private node; `with RabbitNode() as node:` or `start()` and `stop()`.

    User `guest`, password `guest`, vhost `/`. `config` is appended to `rabbitmq.conf`; `plugins`
    run besides the management plugin. Queues, users and messages survive `kill()`, not `stop()`.
    With `ahead` (default: BROKER_AHEAD in the environment) each deprecated feature is forbidden
    and Khepri stores the metadata; this needs RabbitMQ 4 or newer.
    Not thread-safe.
    """

    def __init__(
        self, *, config: str = "", plugins: Sequence[str] = (), ahead: bool | None = None
    ) -> None:
        self.port, self.api_port, self._dist_port, self._epmd_port = free_ports(4)
        super().__init__(f"http://127.0.0.1:{self.api_port}")
        self._config = _CONFIG.format(port=self.port, api_port=self.api_port) + config
        self._plugins = ("rabbitmq_management", *plugins)
        self._to_go_ahead = bool(os.environ.get(AHEAD)) if ahead is None else ahead
        self._keeper: Keeper | None = None
        self._beam: subprocess.Popen[bytes] | None = None

    @staticmethod
    def unavailable() -> str | None:
        """The reason why no node can run on this machine, in one line; None if it can."""
        if not (SCRIPTS / "rabbitmq-server").exists():
            return f"no RabbitMQ: {SCRIPTS}/rabbitmq-server is missing (package rabbitmq-server)"
        missing = [name for name in ("erl", "epmd", "setsid") if shutil.which(name) is None]
        return f"not in PATH: {', '.join(missing)}" if missing else None

    @property
    def folder(self) -> Path:
        """The folder with the node's data, `log/`, cookie and configuration."""
        return self._kept().folder

    @property
    def pid(self) -> int:
        """The process id of the running Erlang VM."""
        return self._running().pid

    def url(self, vhost: str = "/", user: str = "guest", password: str = "guest") -> str:  # noqa: S107
        """The AMQP URL of a vhost for a user."""
        return f"amqp://{quoted(user)}:{quoted(password)}@127.0.0.1:{self.port}/{quoted(vhost)}"

    def start(self) -> Self:
        """Boot the node, or boot it again after `kill()`; return once it accepts connections.

        Takes about 3 s, with `ahead` 10 s more the first time. If it does not boot, everything is
        removed and NodeError raised.
        """
        if self._beam is not None and self._beam.poll() is None:
            raise NodeError("the node runs already")
        try:
            self.prepare()
            self._boot()
            if self._to_go_ahead:
                self._go_ahead()
        except BaseException:
            self.stop()
            raise
        return self

    def prepare(self) -> None:
        """Make the folder and start epmd, unless already done. Raises NodeError."""
        if self._keeper is None:
            self._prepare()

    def stop(self) -> None:
        """Kill every process of the node and remove its folder. May be called twice."""
        if self._keeper is not None:
            self._keeper.end()
        self._beam = self._keeper = None

    def kill(self) -> None:
        """Send SIGKILL, like a crash. `start()` boots the node with its port and data."""
        beam = self._running()
        beam.kill()
        beam.wait()
        self._beam = None

    def restart(self) -> None:
        """Stop the process cleanly and start a new one, in 9 s."""
        self._end_orderly()
        self.start()

    def restart_app(self) -> None:
        """Restart RabbitMQ without a new process, in 6 s; the same as `restart()` for clients."""
        self.stop_app()
        self.start_app()

    def stop_app(self) -> None:
        """Stop RabbitMQ within its Erlang VM, like `rabbitmqctl stop_app`; takes 5 s."""
        # The process rabbit_boot ends a moment after READY. If the stop comes before, it never
        # does, and no start has an effect as long as it lives.
        again = "_ -> timer:sleep(10), Wait()"
        booted = f"fun Wait() -> case whereis(rabbit_boot) of undefined -> ok; {again} end end"
        self.eval(f"begin ({booted})(), rabbit:stop() end.")

    def start_app(self) -> None:
        """Start RabbitMQ in its Erlang VM again."""
        self.eval("rabbit:start().")

    def deprecated_features(self) -> list[str]:
        """The deprecated features that `deprecated_features.permit` can forbid.

        Raises NodeError if `rabbitmqctl` is too old to list them.
        """
        listed = self.ctl("list_deprecated_features", "name", "--formatter", "json")
        return [feature["name"] for feature in json.loads(listed)]

    def forbid_deprecated_features(self) -> None:
        """Have the node forbid every deprecated feature from its next start on."""
        forbidden = [
            f"deprecated_features.permit.{n} = false\n" for n in self.deprecated_features()
        ]
        with (self.folder / "rabbitmq.conf").open("a") as file:
            file.writelines(forbidden)

    def enable_khepri(self) -> None:
        """Have the node, and the cluster of which it is one, keep its metadata in Khepri."""
        # Khepri is experimental in 4.0, and the only metadata store from 4.3 on.
        self.ctl("enable_feature_flag", "--experimental", "khepri_db")

    def pause(self) -> None:
        """Send SIGSTOP: connections stay open, but the node does not answer until `resume()`."""
        os.kill(self.pid, signal.SIGSTOP)
        # Its threads run until each has seen the signal. WEXITED covers a process that has ended.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Send SIGCONT after `pause()`."""
        os.kill(self.pid, signal.SIGCONT)

    def ctl(self, *args: str) -> str:
        """Run `rabbitmqctl ARGS` (0.5 s) and return its output. Raises NodeError if it fails."""
        done = subprocess.run(  # noqa: S603
            [SCRIPTS / "rabbitmqctl", "--silent", *args],
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CTL_TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise NodeError(f"rabbitmqctl {args[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def eval(self, expression: str) -> str:
        """Evaluate Erlang in the node and return the result as text. Raises NodeError.

        `erl_call` takes 5 ms for that, and `rabbitmqctl eval` boots an Erlang VM for it.
        """
        name, cookie = self._environment()["RABBITMQ_NODENAME"], self.folder / "home/.erlang.cookie"
        done = subprocess.run(  # noqa: S603
            [ERL_CALL, "-sname", name, "-c", cookie.read_text(), "-e"],
            env=self._environment(),
            input=f"{expression}\n",
            capture_output=True,
            text=True,
            timeout=CTL_TIMEOUT,
            check=False,
        )
        result = done.stdout.removeprefix("{ok, ")
        if done.returncode or result == done.stdout:
            raise NodeError(f"{expression} {done.stdout}{done.stderr}")
        return result.removesuffix("}")

    def close_all_connections(self, reason: str = "closed by a test") -> None:
        """Close every client's connection with CONNECTION_FORCED (320)."""
        close = f"rabbit_networking:close_connection(Each, {json.dumps(reason)})"
        # One that cannot end its channels in time exits in the call, and is gone, too.
        once = f"try {close} catch exit:_ -> ok end"
        self.eval(f"[{once} || Each <- rabbit_networking:connections()].")

    def memory_alarm(self, on: bool) -> None:
        """Raise or clear the alarm under which RabbitMQ blocks every publisher.

        A message that is published after the return meets it.
        """
        share = "0.00000001" if on else "0.4"
        change = f"vm_memory_monitor:set_vm_memory_high_watermark({share})"
        # Whoever answers the second call has told every connection of the change before.
        self.eval(f"begin {change}, rabbit_alarm:get_alarms() end.")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _kept(self) -> Keeper:
        if self._keeper is None:
            raise NodeError("the node was not started")
        return self._keeper

    def _running(self) -> subprocess.Popen[bytes]:
        if self._beam is None:
            raise NodeError("the node does not run")
        return self._beam

    def _prepare(self) -> None:
        if reason := self.unavailable():
            raise NodeError(reason)
        self._keeper = Keeper("rabbit-")
        (self.folder / "home").mkdir()
        (self.folder / "rabbitmq.conf").write_text(self._config)
        (self.folder / "rabbitmq-env.conf").write_text(self._home())
        (self.folder / "enabled_plugins").write_text(f"[{','.join(self._plugins)}].")
        self._spawn_epmd()

    def _home(self) -> str:
        """The line of `rabbitmq-env.conf` that has Erlang load from the plugins that run."""
        installed = (SCRIPTS / "rabbitmq-server").resolve().parents[1] / "plugins"
        if not installed.is_dir():
            return ""
        link_plugins(installed, self.folder / "server" / "plugins", self._plugins)
        return f"RABBITMQ_HOME={self.folder}/server\n"

    def _go_ahead(self) -> None:
        """Forbid the deprecated features, enable Khepri and boot again; done only once."""
        self.forbid_deprecated_features()
        self.enable_khepri()
        self._end_orderly()
        self._boot()
        self._to_go_ahead = False

    def _end_orderly(self) -> None:
        beam = self._running()
        beam.terminate()
        try:
            beam.wait(30)
        except subprocess.TimeoutExpired:
            beam.kill()
            beam.wait()

    def _spawn_epmd(self) -> None:
        epmd = ["epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)]
        self._kept().spawn(epmd, env=self._environment())

    def _boot(self) -> None:
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(os.fspath(path))
            notify.settimeout(0.2)
            environment = self._environment() | {"NOTIFY_SOCKET": os.fspath(path)}
            self._beam = self._kept().spawn([SCRIPTS / "rabbitmq-server"], env=environment)
            self._await_ready(notify, self._beam)

    def _await_ready(self, notify: socket.socket, beam: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT
        while time.monotonic() < deadline:
            with suppress(TimeoutError):
                if b"READY=1" in notify.recv(4096):
                    return
            if beam.poll() is not None:
                raise NodeError(f"RabbitMQ ended ({beam.returncode}): {self._last_words()}")
        raise NodeError(f"RabbitMQ was not ready in {BOOT_TIMEOUT:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        lines = (self.folder / "output").read_text(errors="replace").splitlines()
        errors = [line.partition("[error] ")[2] for line in lines if "[error] " in line]
        return "\n".join(errors[:20] or lines[-20:])

    def _environment(self) -> dict[str, str]:
        """The node's whole environment; the caller's and `/etc/rabbitmq` have no effect."""
        folder = self.folder
        return {
            "PATH": f"{SCRIPTS}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": f"{folder}/home",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"n{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf",
            # Makes the script exec the Erlang VM: our child is the VM. -noinput is set below.
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput -kernel inet_dist_use_interface {127,0,0,1}"
                " +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
        }

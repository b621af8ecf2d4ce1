"""``swf-bridge local run``: serve the local SWF in the foreground."""

import os
import queue
import resource
import signal
from contextlib import ExitStack
from typing import Any

from bridge.cli.text import complain, say
from bridge.local import LocalSwf
from bridge.local.daemon import Daemon, DaemonError
from bridge.local.keeper import Keeper
from bridge.local.management import NodeError
from bridge.local.rabbitmq import RabbitNode

AMQP_URL = "SWF_BRIDGE_AMQP_URL"
LOCAL_BROKER = "amqp://guest:guest@localhost:5672/%2F"


def serve(
    host: str,
    port: int,
    *,
    domains: tuple[str, ...],
    with_broker: bool = False,
    with_bridge: bool = False,
    **options: Any,
) -> int:
    """Serve until SIGTERM or SIGINT; return 69 if the SWF, broker or bridge cannot start."""
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _: asked.put(signum))
    _allow_many_connections()
    with ExitStack() as ends:
        swf = LocalSwf(host, port, domains=domains, **options)
        try:
            ends.callback(swf.stop)
            swf.start()
            for line in _welcome(swf.endpoint, domains).splitlines():
                say(line)
            url = ends.enter_context(RabbitNode()).url() if with_broker else ""
            if url:
                for line in ("", "RabbitMQ for workers:", "", f"  export AMQP_URL={url}"):
                    say(line)
            if with_bridge:
                _start_bridge(ends, swf, domains[0], url or os.environ.get(AMQP_URL, LOCAL_BROKER))
        except (NodeError, DaemonError) as error:
            complain(error)
            return os.EX_UNAVAILABLE
        except OSError as error:
            complain(f"cannot listen on {host}:{port}: {error.strerror}")
            return os.EX_UNAVAILABLE
        asked.get()
    return 0


def _start_bridge(ends: ExitStack, swf: LocalSwf, domain: str, url: str) -> None:
    keeper = ends.enter_context(Keeper("swf-bridge-local-"))
    bridge = Daemon(keeper, swf.endpoint, url, {"SWF_BRIDGE_DOMAIN": domain})
    bridge.start()
    say()
    say(f"The bridge carries task list demo; its page is {bridge.page}/")


def _welcome(endpoint: str, domains: tuple[str, ...]) -> str:
    return f"""\
A local SWF answers at {endpoint} (domains: {", ".join(domains)}). It keeps its state in memory,
takes any credentials, and has the activity half of SWF only. For swf-bridge and other clients:

  export AWS_ENDPOINT_URL_SWF={endpoint} AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local

Submit a task with `swf-bridge local submit Text.echo hello --wait`; end with Ctrl-C."""


def _allow_many_connections() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""The local SWF in the foreground."""

import os
import queue
import resource
import signal
import sys
from typing import Any

from bridge.local import LocalSwf


def serve(host: str, port: int, *, domains: tuple[str, ...], **options: Any) -> int:
    """Serve until SIGTERM or SIGINT; 69 where the address cannot be had."""
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _: asked.put(signum))
    _allow_many_connections()
    swf = LocalSwf(host, port, domains=domains, **options)
    try:
        swf.start()
    except OSError as error:
        print(f"swf-bridge: cannot listen on {host}:{port}: {error.strerror}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    print(_welcome(swf.endpoint, domains), flush=True)
    asked.get()
    swf.stop()
    return 0


def _welcome(endpoint: str, domains: tuple[str, ...]) -> str:
    return f"""\
A local SWF answers at {endpoint} (domains: {", ".join(domains)}). It keeps its state in memory,
takes any credentials, and has the activity half of SWF only. For swf-bridge and other clients:

  export AWS_ENDPOINT_URL_SWF={endpoint}
  export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local

Submit a task with `swf-bridge local submit echo hello`; end with Ctrl-C."""


def _allow_many_connections() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

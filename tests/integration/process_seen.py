"""`python -m process_seen`: tells what a process has been given, as JSON."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

STATUS = ("SigBlk", "SigIgn", "SigCgt", "Threads", "Umask", "NoNewPrivs", "CapEff")


def seen() -> dict[str, object]:
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    return {
        "argv": sys.argv[1:],
        "main": [__name__, sys.modules["__main__"].__name__, Path(sys.argv[0]).name],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": sys.path,
        "descriptors": sorted(int(each) for each in os.listdir("/proc/self/fd"))[:-1],
        "streams": [
            (each.encoding, each.errors, each.line_buffering, each.isatty(), each.seekable())
            for each in (sys.stdin, sys.stdout, sys.stderr)
        ],
        "status": {name: status[name] for name in STATUS},
        "handlers": {each.name: str(signal.getsignal(each)) for each in signal.Signals},
        "limits": Path("/proc/self/limits").read_text(),
        "zone": time.tzname,
        "thread": threading.current_thread().name,
        "flags": str(sys.flags),
        "ours": sorted(name for name in sys.modules if name.partition(".")[0] == "bridge"),
    }


if __name__ == "__main__":
    json.dump(seen(), sys.stdout)
    sys.stdout.flush()
    what = sys.argv[1]
    if what == "wait for a signal":
        signal.pause()
    if what == "raise":
        raise ValueError("as it was asked to")
    if what == "exit 7":
        sys.exit(7)

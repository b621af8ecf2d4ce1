"""`swf-bridge run` for the bench, with what a test cannot wait for or ask of a machine.

Options before `--`: `heartbeat=S` and `confirm=S` shorten how long a dead peer is waited for,
`clock=FILE` adds the seconds in FILE to the wall clock, and `journal=memory` switches the journal
off, to see that the bench notices.
"""

import mmap
import sqlite3
import struct
import sys
import time
from pathlib import Path


def heartbeat(seconds: str) -> None:
    from bridge.rabbitmq import amqp

    amqp.HEARTBEAT = int(seconds)


def confirm(seconds: str) -> None:
    from bridge.rabbitmq import publisher

    publisher.CONFIRM_TIMEOUT = float(seconds)


def clock(path: str) -> None:
    with Path(path).open("rb") as file:
        offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    real = time.time
    time.time = lambda: real() + struct.unpack("d", offset[:8])[0]


def journal(where: str) -> None:
    assert where == "memory"
    connect = sqlite3.connect
    sqlite3.connect = lambda path, **options: connect(":memory:", **options)  # type: ignore[assignment]


def main() -> int:
    split = sys.argv.index("--")
    for option in sys.argv[1:split]:
        name, _, value = option.partition("=")
        {"heartbeat": heartbeat, "confirm": confirm, "clock": clock, "journal": journal}[name](
            value
        )
    from bridge.__main__ import main

    return main(sys.argv[split + 1 :])


if __name__ == "__main__":
    sys.exit(main())

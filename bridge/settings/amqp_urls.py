"""The URLs of RabbitMQ, read again from their credential file before each attempt to connect.

So a password rotated in the file is used for the next connection, without a restart.
"""

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from bridge.settings import validators
from bridge.settings.environment import variable

log = logging.getLogger(__name__)

_SEED = random.SystemRandom().getrandbits(64)
"""Random for each process, in which all connections try the URLs in the same order."""


class AmqpUrls:
    """The URLs, including passwords, in the order in which to try them.

    Each iteration reads ``file``, if given. If it cannot be read or holds no valid URLs, a warning
    is logged and the last valid URLs are used. Safe to use from many threads.
    """

    def __init__(self, urls: tuple[str, ...], *, shuffle: bool, file: Path | None = None) -> None:
        self._urls = urls
        self._shuffle = shuffle
        self._file = file
        self._lock = Lock()
        self._wrong = ""

    def __repr__(self) -> str:
        return f"<AmqpUrls {len(self._urls)}{' from a credential' if self._file else ''}>"

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            if self._file is not None:
                self._read(self._file)
            urls = self._urls
        if self._shuffle:  # so that instances spread over the nodes
            urls = tuple(random.Random(_SEED).sample(urls, len(urls)))  # noqa: S311 - no secret
        return iter(urls)

    def _read(self, file: Path) -> None:
        wrong = ""
        try:
            self._urls = validators.amqp_urls(file.read_text("utf-8").rstrip("\r\n"))
        except OSError as error:
            wrong = f"its credential cannot be read: {error.strerror}"
        except UnicodeDecodeError:
            wrong = "is not valid UTF-8"
        except ValueError as error:
            wrong = str(error)
        if wrong and wrong != self._wrong:
            told = {"variable": variable("amqp_url"), "error": wrong}
            log.warning("setting.not_read_anew", extra=told)
        self._wrong = wrong

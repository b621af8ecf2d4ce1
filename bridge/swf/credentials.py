"""AWS credentials as botocore finds them: looked for while there are none, kept for a moment."""

import threading
import time
from collections.abc import Callable

from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import (
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    PartialCredentialsError,
    ProfileNotFound,
)

from bridge.errors import Unavailable
from bridge.swf.errors import error_from

KEEP = 1.0
"""Seconds for which credentials are taken for the current ones."""
RENEW = 5.0
"""Seconds between two looks for credentials while there are none."""

_WRONG = (
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    PartialCredentialsError,
    ProfileNotFound,
)
"""What no later look for credentials can heal: a person must mend the configuration."""


class LateCredentials(Credentials):
    """The session's credentials; looked for again, every RENEW seconds, while there are none.

    Once found, refreshing them is botocore's. Stands in a session in place of its chain of
    providers, for a client never finds credentials that came after it. Safe for many threads.
    """

    def __init__(self, find: Callable[[], Credentials | None]) -> None:
        super().__init__("", "", method="late")
        self._find = find
        self._lock = threading.Lock()
        self._found: Credentials | None = None
        self._why = ("NoCredentialsError", "Unable to locate credentials")
        self._looked_at = float("-inf")

    def load_credentials(self) -> Credentials:
        """What a session asks its chain for."""
        return self

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Key, secret and token for one call. Raises Unavailable, or what a provider raises."""
        if self._found is None:
            self.look()
        if self._found is None:
            raise Unavailable(*self._why)
        return self._found.get_frozen_credentials()

    @property
    def change(self) -> bool:
        """Whether those that were found, if any, are replaced from time to time."""
        return self._found is None or isinstance(self._found, RefreshableCredentials)

    def look(self) -> None:
        """Look for them, unless they are there or were missing a moment ago. Raises _WRONG."""
        with self._lock:
            if self._found is not None or time.monotonic() - self._looked_at < RENEW:
                return
            try:
                self._found = self._find()
            except _WRONG:
                raise
            except Exception as error:  # noqa: BLE001 - a provider may run anything, as a process
                self._why = (type(error).__name__, str(error))
            finally:
                self._looked_at = time.monotonic()


class KeptCredentials:
    """The credentials for the next call, without a wait for whoever provides them.

    They are asked for again, every KEEP seconds, on a thread of its own: a provider that hangs
    must not delay the calls that the last ones still sign. Safe for many threads.
    """

    def __init__(self, source: LateCredentials) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._kept: ReadOnlyCredentials | None = None
        self._error: Exception | None = None
        self._due = float("-inf")

    def now(self) -> ReadOnlyCredentials:
        """Key, secret and token, for whoever may wait for the provider. Raises Unavailable."""
        try:
            return self._source.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            raise error_from(error) from None

    def current(self) -> ReadOnlyCredentials:
        """The same for whoever may not, but the first time."""
        if time.monotonic() >= self._due and self._lock.acquire(blocking=False):
            if self._due == float("-inf"):
                self._look()
            else:
                threading.Thread(target=self._look, name="credentials", daemon=True).start()
        while self._kept is None:
            if (error := self._error) is not None:
                raise error_from(error)
            with self._lock:  # another thread looks for the first time
                pass
        return self._kept

    def _look(self) -> None:
        """With the lock in hand."""
        due = time.monotonic() + KEEP
        try:
            self._kept = self._source.get_frozen_credentials()
            if not self._source.change:
                due = float("inf")
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            self._error, self._kept = error, None
        finally:
            self._due = due
            self._lock.release()

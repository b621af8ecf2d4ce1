"""AWS credentials as botocore finds them: looked for while there are none, or AWS refuses them.

Botocore renews those that tell when they expire. All others it reads once: keys that somebody
renews in a file, or that are revoked before their time, it would sign with until a restart.
"""

import logging
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
from bridge.swf.errors import NOT_LET_IN, error_from

log = logging.getLogger(__name__)

KEEP = 1.0
"""Seconds for which credentials are taken for the current ones."""
RENEW = 5.0
"""Seconds between two looks for credentials while there are none, or AWS refuses them."""
RENEW_FOR = 60.0
"""Seconds after a refusal in which others are looked for; polls are tried again sooner."""

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

    So they are after AWS has refused them, and those that were found sign until there are
    others. Refreshing them before is botocore's. Stands in a session in place of its chain of
    providers, for a client never finds credentials that came after it. Safe for many threads.
    """

    def __init__(self, find: Callable[[], Credentials | None]) -> None:
        super().__init__("", "", method="late")
        self.version = 0
        """Another number once others were found."""
        self._find = find
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
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

    def judged(self, error: Exception) -> None:
        """What a call has come to: where AWS refuses them, look for others. Never blocks."""
        if getattr(error, "code", "") not in NOT_LET_IN or self._found is None:
            return
        if self._renewing.acquire(blocking=False):
            try:
                threading.Thread(target=self._renew, name="credentials", daemon=True).start()
            except RuntimeError:  # there is no thread to be had: the next refusal asks again
                self._renewing.release()

    def _renew(self) -> None:
        """Look until there are others, and no longer than RENEW_FOR."""
        until = time.monotonic() + RENEW_FOR
        try:
            while not self._replaced() and time.monotonic() < until:
                time.sleep(RENEW)
        finally:
            self._renewing.release()

    def _replaced(self) -> bool:
        """Whether others were found; a source that fails, or has the same, takes nothing away."""
        try:
            assert self._found is not None
            refused, found = _frozen(self._found), self._find()
            if found is None or (fresh := found.get_frozen_credentials()) == refused:
                return False
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            log.debug("credentials.not_renewed", extra={"error": type(error).__name__})
            return False
        self._found = found
        self.version += 1
        changed = refused is None or fresh.access_key != refused.access_key
        log.info("credentials.renewed", extra={"method": found.method, "another_key": changed})
        return True


def _frozen(credentials: Credentials) -> ReadOnlyCredentials | None:
    """As they sign; None where their provider cannot give any now."""
    try:
        return credentials.get_frozen_credentials()
    except Exception:  # noqa: BLE001 - a provider may raise anything
        return None


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
        self._version = source.version

    def now(self) -> ReadOnlyCredentials:
        """Key, secret and token, for whoever may wait for the provider. Raises Unavailable."""
        try:
            return self._source.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            raise error_from(error) from None

    def current(self) -> ReadOnlyCredentials:
        """The same for whoever may not, but the first time."""
        changed = self._version != self._source.version
        if (changed or time.monotonic() >= self._due) and self._lock.acquire(blocking=False):
            if changed or self._due == float("-inf"):  # those that have just come are at hand
                self._version = self._source.version
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

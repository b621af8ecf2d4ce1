"""AWS credentials from botocore, searched for again while missing or refused by AWS.

botocore refreshes credentials that have an expiry time. It reads all others once and would sign
with them until a restart, even after the keys were rotated in a file or revoked.
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
"""Seconds for which calls reuse expiring credentials before asking the provider again."""
RENEW = 5.0
"""Seconds between two searches for credentials while they are missing or refused."""
RENEW_FOR = 60.0
"""Seconds after a refusal for which the search goes on; polls are retried sooner."""

_WRONG = (
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    PartialCredentialsError,
    ProfileNotFound,
)
"""Errors that searching again cannot mend: the operator must correct the configuration."""


class LateCredentials(Credentials):
    """The session's credentials. Calls search for missing ones, at most once in ``renew`` seconds.

    After AWS has refused them, a thread searches for others, for ``renew_for`` seconds at most; the
    old ones sign until then. botocore
    refreshes expiring ones. This object replaces the session's chain of providers, because a client
    never sees credentials found after its creation. Safe to use from many threads.
    """

    def __init__(
        self,
        find: Callable[[], Credentials | None],
        *,
        renew: float = RENEW,
        renew_for: float = RENEW_FOR,
    ) -> None:
        super().__init__("", "", method="late")
        self.version = 0
        """Increases when the credentials are replaced by others."""
        self._find = find
        self._renew_every = renew
        self._renew_for = renew_for
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._found: Credentials | None = None
        self._why = ("NoCredentialsError", "Unable to locate credentials")
        self._looked_at = float("-inf")

    def load_credentials(self) -> Credentials:
        """Return this object, as the session's chain of providers."""
        return self

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Key, secret and token for one call. Raises Unavailable or the provider's exception."""
        if self._found is None:
            self.look()
        if self._found is None:
            raise Unavailable(*self._why)
        return self._found.get_frozen_credentials()

    @property
    def change(self) -> bool:
        """Whether credentials are still missing, or expire and are refreshed by botocore."""
        return self._found is None or isinstance(self._found, RefreshableCredentials)

    def look(self) -> None:
        """Search, unless found or just searched for. Raises those of _WRONG."""
        with self._lock:
            looked_ago = time.monotonic() - self._looked_at
            if self._found is not None or looked_ago < self._renew_every:
                return
            try:
                self._found = self._find()
            except _WRONG:
                raise
            except Exception as error:  # noqa: BLE001 - a provider may run any process
                self._why = (type(error).__name__, str(error))
            finally:
                self._looked_at = time.monotonic()

    def judged(self, error: Exception) -> None:
        """Search for others, on a thread, if a call's ``error`` says that AWS refused them."""
        if getattr(error, "code", "") not in NOT_LET_IN or self._found is None:
            return
        if self._renewing.acquire(blocking=False):
            try:
                threading.Thread(target=self._renew, name="credentials", daemon=True).start()
            except RuntimeError:  # no thread can be started: the next refusal tries again
                self._renewing.release()

    def _renew(self) -> None:
        """Search until other credentials are found, or for long enough."""
        until = time.monotonic() + self._renew_for
        try:
            while not self._replaced() and time.monotonic() < until:
                time.sleep(self._renew_every)
        finally:
            self._renewing.release()

    def _replaced(self) -> bool:
        """Whether other credentials were found. If the search fails, the old ones stay."""
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
    """Key, secret and token; None if the provider cannot give them."""
    try:
        return credentials.get_frozen_credentials()
    except Exception:  # noqa: BLE001 - a provider may raise anything
        return None


class KeptCredentials:
    """The credentials for the next call, without waiting for their provider.

    A separate thread asks for expiring ones again after ``keep`` seconds: a provider that hangs
    must not delay calls that the last ones can still sign. Safe to use from many threads.
    """

    def __init__(self, source: LateCredentials, keep: float = KEEP) -> None:
        self._source = source
        self._keep = keep
        self._lock = threading.Lock()
        self._kept: ReadOnlyCredentials | None = None
        self._error: Exception | None = None
        self._due = float("-inf")
        self._version = source.version

    def now(self) -> ReadOnlyCredentials:
        """Key, secret and token; may wait for the provider. Raises Unavailable."""
        try:
            return self._source.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            raise error_from(error) from None

    def current(self) -> ReadOnlyCredentials:
        """As ``now``, but waits for the provider only the first time or after a change."""
        changed = self._version != self._source.version
        if (changed or time.monotonic() >= self._due) and self._lock.acquire(blocking=False):
            if changed or self._due == float("-inf"):  # new credentials are read in place
                self._version = self._source.version
                self._look()
            else:
                self._look_meanwhile()
        while self._kept is None:
            if (error := self._error) is not None:
                raise error_from(error)
            with self._lock:  # another thread is asking for the first time
                pass
        return self._kept

    def _look_meanwhile(self) -> None:
        """Ask the provider on a thread of its own."""
        try:
            threading.Thread(target=self._look, name="credentials", daemon=True).start()
        except RuntimeError:  # no thread can be started: the next call tries again
            self._lock.release()

    def _look(self) -> None:
        """Ask the provider. The caller holds the lock; this releases it."""
        due = time.monotonic() + self._keep
        try:
            self._kept = self._source.get_frozen_credentials()
            if not self._source.change:
                due = float("inf")
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            self._error, self._kept = error, None
        finally:
            self._due = due
            self._lock.release()

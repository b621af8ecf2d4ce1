"""The AWS configuration as boto3 resolves it: region, endpoint, credentials, proxy, CA file.

Environment variables, profiles, roles and endpoints behave as in every AWS SDK, because boto3
resolves all of them. Credentials are searched for again while they are missing or refused by AWS:
botocore refreshes those that have an expiry time, but reads all others once and would sign with
them until a restart, even after the keys were rotated in a file or revoked.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from bridge.errors import ConfigError, Unavailable
from bridge.swf.errors import NOT_LET_IN, error_from, without_values

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


CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 20.0
"""Seconds to wait for an answer to any call but a poll: SWF holds a poll for 60 seconds."""


class Aws:
    """A session of boto3 and the settings that it found in environment, profiles and roles.

    Raises ConfigError for a configuration that cannot work. Missing credentials are no error.
    ``renew`` and ``renew_for`` are those of ``LateCredentials``.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        renew: float = RENEW,
        renew_for: float = RENEW_FOR,
    ) -> None:
        self.connect_timeout = connect_timeout
        """Seconds in which a connection to a service must stand."""
        self.credentials = LateCredentials(
            lambda: _session().get_credentials(), renew=renew, renew_for=renew_for
        )
        with _config_errors():
            self._core = _session()
            self.credentials.look()
        self._core.register_component("credential_provider", self.credentials)
        self._session = boto3.Session(botocore_session=self._core)

    def make_client(self, *, connections: int = 10, read_timeout: float = ANSWER_TIMEOUT) -> Any:
        """A boto3 client for SWF. Raises ConfigError."""
        config = Config(
            # botocore's retry of a poll would lose the task that SWF gave to the first attempt.
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=connections,
            connect_timeout=self.connect_timeout,
            read_timeout=read_timeout,
            tcp_keepalive=True,
            parameter_validation=False,
            user_agent_extra="swf-bridge",
        )
        with _config_errors():
            client = self._session.client("swf", config=config)
            if not client.meta.region_name:  # AWS_REGION is set but empty
                raise NoRegionError
        return client

    def client(self, service: str) -> Any:
        """A boto3 client for another service than SWF. It never retries."""
        config = Config(
            retries={"total_max_attempts": 1},
            connect_timeout=self.connect_timeout,
            read_timeout=ANSWER_TIMEOUT,
        )
        make: Any = self._session.client  # its stubs accept only literal service names
        return make(service, config=config)

    def who(self) -> str:
        """The ARN of the credentials' owner (STS GetCallerIdentity). Raises Unavailable."""
        try:
            return str(self.client("sts").get_caller_identity()["Arn"])
        except Unavailable:
            raise
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise Unavailable(code, without_values(str(error))) from None
        except Exception as error:  # noqa: BLE001 - as for every call
            raise Unavailable(type(error).__name__, without_values(str(error))) from None

    def monitored(self) -> bool:
        """Whether client-side monitoring or botocore plugins of the user are configured."""
        return bool(
            self._core.get_config_variable("csm_enabled")
            or os.environ.get("BOTOCORE_EXPERIMENTAL__PLUGINS")
        )

    def authorities(self) -> str:
        """The path of the CA certificates that TLS connections are verified with."""
        own = self._core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
        return str(own or get_cert_path(True))


def proxy_for(url: str) -> str:
    """The proxy that botocore would use for ``url``; empty for none."""
    return str(get_environ_proxies(url).get(url.partition(":")[0], ""))


def _session() -> botocore.session.Session:
    # botocore reads only AWS_DEFAULT_REGION; the other SDKs and our contract read AWS_REGION.
    # An empty variable counts as unset.
    names = [name for name in ("AWS_REGION", "AWS_DEFAULT_REGION") if os.environ.get(name)]
    region = ("region", names, None, None)
    return botocore.session.Session(session_vars={"region": region})


@contextmanager
def _config_errors() -> Iterator[None]:
    try:
        yield
    except NoRegionError:
        raise ConfigError(["AWS_REGION: is not set, and no profile names a region"]) from None
    except ProfileNotFound as error:
        raise ConfigError([f"AWS_PROFILE: {error}"]) from None
    except (BotoCoreError, ValueError) as error:
        raise ConfigError([f"AWS: {error}"]) from None

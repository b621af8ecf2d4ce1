"""The AWS configuration as boto3 resolves it: region, endpoint, credentials, proxy, CA file.

Environment variables, profiles, roles and endpoints behave as in every AWS SDK, because boto3
resolves all of them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError, ProfileNotFound
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from bridge.errors import ConfigError, Unavailable
from bridge.swf.credentials import RENEW, RENEW_FOR, LateCredentials
from bridge.swf.errors import without_values

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

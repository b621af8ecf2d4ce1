"""The configuration of the AWS SDKs: region, endpoint, profile, proxy, authorities; by boto3.

The environment, profiles, roles and endpoints of the AWS SDKs work as everywhere, for this module
asks boto3 for all of them.
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
from bridge.swf.credentials import LateCredentials
from bridge.swf.errors import without_values

CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 20.0
"""Seconds for everything but a poll, which the service holds for 60."""


class Aws:
    """What boto3 finds in the environment, in profiles and of roles.

    Raises ConfigError for what cannot work. Credentials may come later.
    """

    def __init__(self) -> None:
        self.credentials = LateCredentials(lambda: _session().get_credentials())
        with _config_errors():
            self._core = _session()
            self.credentials.look()
        self._core.register_component("credential_provider", self.credentials)
        self._session = boto3.Session(botocore_session=self._core)

    def make_client(self, *, connections: int = 10, read_timeout: float = ANSWER_TIMEOUT) -> Any:
        """A boto3 client for SWF. Raises ConfigError."""
        config = Config(
            # A retry behind our back polls again while the first may have been given a task.
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=connections,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=read_timeout,
            tcp_keepalive=True,
            parameter_validation=False,
            user_agent_extra="swf-bridge",
        )
        with _config_errors():
            client = self._session.client("swf", config=config)
            if not client.meta.region_name:  # a variable that is there and empty
                raise NoRegionError
        return client

    def client(self, service: str) -> Any:
        """A boto3 client for a service that is asked now and then, without a second try."""
        config = Config(
            retries={"total_max_attempts": 1},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=ANSWER_TIMEOUT,
        )
        make: Any = self._session.client  # its stubs know the services by name alone
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
        """Whether botocore is to report its calls to a monitor, or has plugins of the user's."""
        return bool(
            self._core.get_config_variable("csm_enabled")
            or os.environ.get("BOTOCORE_EXPERIMENTAL__PLUGINS")
        )

    def authorities(self) -> str:
        """The file of certificates by which TLS is verified."""
        own = self._core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
        return str(own or get_cert_path(True))


def proxy_for(url: str) -> str:
    """The proxy that the environment names for ``url``, as botocore has it; else nothing."""
    return str(get_environ_proxies(url).get(url.partition(":")[0], ""))


def _session() -> botocore.session.Session:
    # botocore knows AWS_DEFAULT_REGION alone; every other SDK, and our contract, AWS_REGION.
    # An empty one counts as unset.
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

"""The settings that an operator sets by environment variable or systemd credential.

pydantic-settings reads them. ``Settings.load`` returns valid settings or raises
:class:`ConfigError` with all problems at once, one line each, which begins with the variable's name
and never repeats a value.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.errors import ConfigError
from bridge.settings import files, names, validators
from bridge.settings.amqp_urls import AmqpUrls
from bridge.settings.environment import (
    PLAIN_DSN,
    Credentials,
    Origin,
    credentials_directory,
    misspelt,
    origin,
    quoted,
    sentence,
    variable,
)
from bridge.settings.task_list import (
    AmqpName,
    Deadlines,
    Keepalive,
    MaxInFlight,
    Pollers,
    SwfName,
    TaskList,
    TaskLists,
    written,
)
from bridge.settings.validators import HttpAddress

Seconds = Annotated[float, Field(allow_inf_nan=False)]
HttpNames = Annotated[tuple[str, ...], BeforeValidator(validators.host_names)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)
]
AmqpFile = Annotated[Path, AfterValidator(files.readable), AfterValidator(files.only_with_tls)]


def _plain_dsn() -> SecretStr | None:
    dsn = os.environ.get(PLAIN_DSN)
    return SecretStr(dsn) if dsn else None


class Settings(BaseSettings):
    """All settings. The variable of a field is ``SWF_BRIDGE_`` and the field's name in capitals.

    The order of the fields matters: a field's check may read the fields above it.
    """

    model_config = SettingsConfigDict(
        alias_generator=variable,
        case_sensitive=True,
        env_ignore_empty=True,
        enable_decoding=False,  # our validators parse lists and JSON
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    domain: SwfName | None = Field(
        default=None, description="SWF domain of the task lists that name none"
    )
    pollers: Pollers = Field(default=2, description="polls of a task list side by side")
    max_in_flight: MaxInFlight = Field(
        default=100,
        description="tasks of a list handed to workers and not yet settled, for this instance",
    )
    keepalive: Keepalive = Field(
        default=0,
        description="seconds between heartbeats that the bridge sends for a task until its worker's"
        " first word, or off",
    )
    keepalive_limit: Seconds = Field(
        default=3600,
        ge=1,
        le=validators.YEAR,
        description="seconds after which KEEPALIVE ends for a task",
    )
    deadlines: Deadlines = Field(
        default="off",
        description="tasks go out with the time at which SWF gives them up: type: by the time-outs"
        " of their type; history: by their own, a look into the history for each",
    )
    deadline_calls: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="looks into histories a second at most, where DEADLINES are not off",
    )
    task_lists: TaskLists = Field(
        description="the task lists to poll: names separated by commas, or a JSON array of names"
        ' and objects {"name", "domain", "pollers", "max_in_flight", "queue", "keepalive",'
        ' "deadlines"}'
    )
    in_flight_timeout: Seconds = Field(
        default=86400,
        ge=1,
        le=validators.YEAR,
        description="seconds after which an unanswered task gives its slot back, with a warning",
    )
    identity: Annotated[str, AfterValidator(validators.identity)] = Field(
        default_factory=lambda: f"swf-bridge@{socket.gethostname()}"[:256],
        description="recorded in the workflow history, at most 256 characters",
    )
    read_timeout: Seconds = Field(
        default=70,
        ge=70,
        le=3600,
        description="seconds to wait for SWF's answer; SWF holds a poll for 60",
    )
    amqp_url: Annotated[SecretStr, validators.secret(validators.amqp_urls)] = Field(
        default=SecretStr("amqp://guest:guest@localhost:5672/%2F"),
        description="the RabbitMQ server as amqp://user:password@host:port/vhost, or several,"
        " separated by commas and tried in turn; amqps:// for TLS",
    )
    amqp_shuffle: bool = Field(
        default=True,
        description="try several addresses of RabbitMQ in an order of the process's own, so that"
        " not all instances use the first node; false: in the order that is given",
    )
    amqp_ca_file: Annotated[AmqpFile, AfterValidator(files.authorities)] | None = Field(
        default=None, description="PEM file of the authorities that may sign RabbitMQ's certificate"
    )
    amqp_cert_file: AmqpFile | None = Field(
        default=None, description="PEM file of the certificate that the bridge shows to RabbitMQ"
    )
    amqp_key_file: Annotated[AmqpFile, AfterValidator(files.key_of_certificate)] | None = Field(
        default=None, description="PEM file of that certificate's private key"
    )
    declare: bool = Field(
        default=True, description="declare exchanges and queues, or only check that they are there"
    )
    exchange: AmqpName = Field(
        default="swf.activities", description="topic exchange that tasks are published to"
    )
    routing_key: Annotated[str, AfterValidator(validators.routing_key_template)] = Field(
        default="{name}.{version}",
        description="routing key of a task, of the fields {domain} {task_list} {name} {version}",
    )
    reply_queue: AmqpName = Field(
        default="swf.replies", description="queue that workers send their replies to"
    )
    dead_letter_queue: AmqpName = Field(
        default="swf.replies.dead", description="queue for replies that can never be accepted"
    )
    cancel_exchange: AmqpName = Field(
        default="swf.cancellations",
        description="topic exchange for word that a task's cancellation was requested",
    )
    undeliverable: AmqpName = Field(
        default="swf.undeliverable",
        description="fanout exchange and queue for the tasks that workers reject",
    )
    responders: int = Field(default=8, ge=1, le=1000, description="answers side by side")
    reply_memory: int = Field(
        default=64,
        ge=8,
        le=65536,
        description="MiB of replies that are in hand at most; the rest waits in RabbitMQ",
    )
    unroutable_timeout: Seconds = Field(
        default=60,
        ge=0,
        le=validators.YEAR,
        description="seconds after the poll for which a task with no queue bound waits for one"
        " before it is failed in SWF; 0: at once",
    )
    journal: Annotated[Path, AfterValidator(files.place_for_a_file)] = Field(
        default=Path("swf-bridge.db"),
        description="SQLite file of the tasks in hand, held by one process; by default journal.db"
        " in systemd's state directory, else swf-bridge.db",
    )
    control: Annotated[Path, AfterValidator(files.place_for_a_socket)] = Field(
        default=Path("swf-bridge.sock"),
        description="Unix socket for commands; by default control.sock in systemd's runtime"
        " directory, else the journal's path with .sock",
    )
    drain_timeout: Seconds = Field(
        default=75,
        ge=0,
        le=validators.YEAR,
        description="seconds after SIGTERM for open polls to end and their tasks to be published",
    )
    http: Annotated[HttpAddress | None, BeforeValidator(validators.http_address)] = Field(
        default=HttpAddress("127.0.0.1", 9464),
        description="address of /, /livez, /readyz and /metrics, or off",
    )
    http_names: HttpNames = Field(
        default=(),
        description="host names, separated by commas, by which that address may be asked beside"
        " localhost and this machine's own",
    )
    swf_client: Literal["auto", "curl", "boto3"] = Field(
        default="auto", description="what calls SWF: auto takes curl where PycURL is installed"
    )
    log_level: LogLevel = Field(default="INFO", description="the least that is logged")
    log_format: Literal["auto", "journald", "text", "json"] = Field(
        default="auto",
        description="auto: journald under systemd, text on a terminal, else JSON lines",
    )
    sentry_dsn: Annotated[SecretStr, validators.secret(validators.sentry_dsn)] | None = Field(
        default_factory=_plain_dsn,
        description="where errors are reported; without it Sentry is not loaded",
    )
    sentry_environment: str | None = Field(
        default=None, max_length=64, description="the environment that Sentry shows, as production"
    )
    sentry_traces_sample_rate: float = Field(
        default=0, ge=0, le=1, description="the share of tasks that Sentry traces"
    )

    _origins: Mapping[str, Origin] = PrivateAttr(default_factory=dict)

    @field_validator(
        "exchange", "reply_queue", "dead_letter_queue", "cancel_exchange", "undeliverable"
    )
    @classmethod
    def _not_the_brokers_own(cls, name: str, info: ValidationInfo) -> str:
        if name.startswith("amq.") and info.data.get("declare", True):
            raise ValueError("must not begin with amq., which RabbitMQ keeps for itself")
        return name

    @field_validator(*names.QUEUES, *names.EXCHANGES[:2])
    @classmethod
    def _apart(cls, name: str, info: ValidationInfo) -> str:
        return names.apart(info.field_name or "", name, info.data)

    @field_validator("journal", "control", mode="before")
    @classmethod
    def _place(cls, value: object, info: ValidationInfo) -> object:
        """Default to systemd's directory (the first of several), else beside us or the journal."""
        if isinstance(value, str):
            return value
        if info.field_name == "journal":
            state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
            return Path(state, "journal.db") if state else value
        runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        beside = info.data.get("journal", Path("swf-bridge.db")).with_suffix(".sock")
        return Path(runtime, "control.sock") if runtime else beside

    @field_validator("*", mode="before")  # pydantic runs the last one first
    @classmethod
    def _text(cls, value: object) -> object:
        if isinstance(value, ValueError):
            raise value
        return validators.utf8(value) if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment, then the credentials, and no file ``.env``."""
        return init_settings, env_settings, Credentials(settings_cls, credentials_directory())

    @classmethod
    def load(cls, *, lists_needed: bool = True) -> Self:
        """Read every setting from the environment and the files of ``$CREDENTIALS_DIRECTORY``.

        The environment takes precedence over a file. An empty value counts as unset. Raises
        :class:`ConfigError` with all problems. Without ``lists_needed`` an unset TASK_LISTS is no
        problem and gives no lists.
        """
        origins = {field: origin(field) for field in cls.model_fields}
        problems = [*misspelt(cls.model_fields), *_unpaired(origins)]
        given: dict[str, Any] = {}
        if not lists_needed and origins["task_lists"].source == "default":
            given[variable("task_lists")] = ()
        try:
            settings = cls(**given)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            lines = (sentence(each, origins, cls, TaskList) for each in details)
            raise ConfigError([*problems, *lines]) from None
        if problems:
            raise ConfigError(problems)
        settings._origins = origins
        return settings

    @property
    def amqp_order(self) -> AmqpUrls:
        """The URLs in the order to try them, shuffled if so set; a credential is read again."""
        file = self._origins["amqp_url"].file
        return AmqpUrls(self.amqp_urls, shuffle=self.amqp_shuffle, file=file)

    @property
    def amqp_urls(self) -> tuple[str, ...]:
        """The URLs in the order in which they were given, including passwords."""
        return validators.amqp_urls(self.amqp_url.get_secret_value())

    def sources(self) -> dict[str, str]:
        """The source of each field's value, for the operator."""
        return {field: each.source for field, each in self._origins.items()}

    def quoted(self) -> list[str]:
        """The variables whose value includes quotes around it."""
        return quoted(self._origins.values())

    def shown(self) -> dict[str, str]:
        """Each field in the form in which its variable is set, without passwords and keys."""
        shown = {name: written(getattr(self, name)) for name in type(self).model_fields}
        shown["amqp_url"] = ",".join(map(validators.without_login_secrets, self.amqp_urls))
        if self.sentry_dsn:
            dsn = self.sentry_dsn.get_secret_value()
            shown["sentry_dsn"] = validators.without_login_secrets(dsn)
        return shown | {name: "off" for name in ("http", "keepalive") if not getattr(self, name)}


def _unpaired(origins: Mapping[str, Origin]) -> Iterator[str]:
    pair = ("amqp_cert_file", "amqp_key_file")
    for field, other in (pair, pair[::-1]):
        if origins[field].source != "default" and origins[other].source == "default":
            yield f"{origins[field].variable}: needs {variable(other)} too"

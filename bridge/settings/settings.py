"""The settings: what an operator may set, by environment variable or systemd credential.

This is the only reader of the environment. ``Settings.load`` either returns settings that can work
or raises :class:`ConfigError` with every problem at once, a line each that begins with the name of
the variable and never repeats a value.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
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
from bridge.settings.environment import PREFIX, Found, quoted, read, sentence, variable
from bridge.settings.validators import HttpAddress

Seconds = Annotated[float, Field(allow_inf_nan=False)]
Keepalive = Annotated[float, BeforeValidator(validators.keepalive)]
Pollers = Annotated[int, Field(ge=1, le=1000)]  # SWF's own limit for a task list
MaxInFlight = Annotated[int, Field(ge=1, le=1_000_000)]
SwfName = Annotated[str, AfterValidator(validators.swf_name)]
AmqpName = Annotated[str, AfterValidator(validators.amqp_name)]
HttpNames = Annotated[tuple[str, ...], BeforeValidator(validators.host_names)]
Deadlines = Literal["off", "type", "history"]
ReadableFile = Annotated[Path, AfterValidator(files.readable)]


class TaskList(BaseModel):
    """A task list to poll, every default filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: SwfName
    domain: SwfName
    pollers: Annotated[Pollers, Field(strict=True)]
    max_in_flight: Annotated[MaxInFlight, Field(strict=True)]
    queue: Annotated[AmqpName, AfterValidator(names.worker_queue)] | None = None
    keepalive: Keepalive
    deadlines: Deadlines

    @property
    def label(self) -> str:
        """Name the list in logs and metrics; SWF allows no / in either half."""
        return f"{self.domain}/{self.name}"


class Settings(BaseSettings):
    """Everything an operator may set; a field is set by ``SWF_BRIDGE_`` and its name in capitals.

    The order of the fields matters: a check may look at those above its own.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
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
    task_lists: tuple[TaskList, ...] = Field(
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
    amqp_url: SecretStr = Field(
        default=SecretStr("amqp://guest:guest@localhost:5672/%2F"),
        description="the RabbitMQ server as amqp://user:password@host:port/vhost, or several,"
        " separated by commas and tried in turn; amqps:// for TLS",
    )
    amqp_shuffle: bool = Field(
        default=True,
        description="try several addresses of RabbitMQ in an order of the process's own, so that"
        " not all instances use the first node; false: in the order that is given",
    )
    amqp_ca_file: ReadableFile | None = Field(
        default=None, description="PEM file of the authorities that may sign RabbitMQ's certificate"
    )
    amqp_cert_file: ReadableFile | None = Field(
        default=None, description="PEM file of the certificate that the bridge shows to RabbitMQ"
    )
    amqp_key_file: ReadableFile | None = Field(
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
    http: HttpAddress | None = Field(
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
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="the least that is logged"
    )
    log_format: Literal["auto", "journald", "text", "json"] = Field(
        default="auto",
        description="auto: journald under systemd, text on a terminal, else JSON lines",
    )
    sentry_dsn: SecretStr | None = Field(
        default=None, description="where errors are reported; without it Sentry is not loaded"
    )
    sentry_environment: str | None = Field(
        default=None, max_length=64, description="the environment that Sentry shows, as production"
    )
    sentry_traces_sample_rate: float = Field(
        default=0, ge=0, le=1, description="the share of tasks that Sentry traces"
    )

    _found: Mapping[str, Found] = PrivateAttr(default_factory=dict)

    @field_validator("task_lists", mode="before")
    @classmethod
    def _fill_in_task_lists(cls, value: object, info: ValidationInfo) -> object:
        """Read names or JSON; what an entry leaves out comes from the settings above.

        A setting that is wrong itself is missing there: its own default stands in, so that it is
        told once.
        """
        entries = validators.entries(value) if isinstance(value, str) else value
        if not isinstance(entries, list | tuple):
            return entries
        if isinstance(value, str) and not entries:
            raise ValueError("names no task list")
        stand_in = {
            "domain": "wrong",
            "pollers": 1,
            "max_in_flight": 1,
            "keepalive": 0,
            "deadlines": "off",
        }
        defaults = {name: info.data.get(name, stand_in[name]) for name in stand_in}
        return [_filled_in(each, _present(defaults)) for each in entries]

    @field_validator("task_lists")
    @classmethod
    def _each_list_once(cls, lists: tuple[TaskList, ...]) -> tuple[TaskList, ...]:
        seen: dict[str, int] = {}
        for number, each in enumerate(lists, 1):
            first = seen.setdefault(each.label, number)
            if first != number:
                raise ValueError(f"entry {number} is the same task list as entry {first}")
        return lists

    @field_validator("amqp_url")
    @classmethod
    def _usable_urls(cls, url: SecretStr) -> SecretStr:
        validators.amqp_urls(url.get_secret_value())
        return url

    @field_validator("amqp_ca_file", "amqp_cert_file", "amqp_key_file")
    @classmethod
    def _only_with_tls(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        url = info.data.get("amqp_url")
        if path and url and "amqps://" not in url.get_secret_value():
            raise ValueError(f"is of use only with amqps:// in {variable('amqp_url')}")
        return path

    @field_validator("amqp_ca_file")
    @classmethod
    def _usable_authorities(cls, path: Path | None) -> Path | None:
        return files.authorities(path) if path else None

    @field_validator("amqp_key_file")
    @classmethod
    def _usable_key(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("amqp_cert_file")
        return files.key_of(certificate, path) if path and certificate else path

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

    @field_validator("http", mode="before")
    @classmethod
    def _address(cls, value: object) -> object:
        return validators.http_address(value) if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("sentry_dsn")
    @classmethod
    def _usable_dsn(cls, dsn: SecretStr | None) -> SecretStr | None:
        if dsn is not None:
            validators.sentry_dsn(dsn.get_secret_value())
        return dsn

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what ``load`` has read: it knows what is misspelt and where a value is from."""
        return (init_settings,)

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, *, lists_needed: bool = True) -> Self:
        """Read every setting from the environment and the files of ``$CREDENTIALS_DIRECTORY``.

        The environment wins over a file, and what is empty counts as unset.
        Raises :class:`ConfigError` with all that is wrong. Where no list is ``lists_needed``, that
        none is set is not.
        """
        problems: list[str] = []
        found = read(environ, cls.model_fields, problems)
        problems += _unpaired(found)
        values: dict[str, Any] = {name: each.value for name, each in found.items()}
        try:
            none = {} if lists_needed else {"task_lists": ()}
            settings = cls(**_places(environ, values) | none | values)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            lines = (sentence(each, found, cls, TaskList) for each in details)
            raise ConfigError([*problems, *lines]) from None
        if problems:
            raise ConfigError(problems)
        settings._found = found
        return settings

    @property
    def amqp_order(self) -> AmqpUrls:
        """The addresses in the order of this process; those of a credential are read anew."""
        found = self._found.get("amqp_url")
        file = found.file if found else None
        return AmqpUrls(self.amqp_urls, shuffle=self.amqp_shuffle, file=file)

    @property
    def amqp_urls(self) -> tuple[str, ...]:
        """The URLs in the order in which to try them, passwords and all."""
        return validators.amqp_urls(self.amqp_url.get_secret_value())

    def sources(self) -> dict[str, str]:
        """Say for each field where its value comes from."""
        return {
            name: self._found[name].source if name in self._found else "default"
            for name in type(self).model_fields
        }

    def quoted(self, environ: Mapping[str, str] = os.environ) -> list[str]:
        """Name the variables whose quotes came along as part of the value."""
        return quoted(environ, self._found.values())

    def shown(self) -> dict[str, str]:
        """Write each field as its variable would have it, without passwords and keys."""
        shown = {name: _written(getattr(self, name)) for name in type(self).model_fields}
        shown["amqp_url"] = ",".join(map(validators.without_login_secrets, self.amqp_urls))
        if self.sentry_dsn:
            dsn = self.sentry_dsn.get_secret_value()
            shown["sentry_dsn"] = validators.without_login_secrets(dsn)
        return shown | {name: "off" for name in ("http", "keepalive") if not getattr(self, name)}


def _unpaired(found: Mapping[str, Found]) -> Iterator[str]:
    pair = ("amqp_cert_file", "amqp_key_file")
    for field, other in (pair, pair[::-1]):
        if field in found and other not in found:
            yield f"{found[field].variable}: needs {variable(other)} too"


def _places(environ: Mapping[str, str], values: Mapping[str, str]) -> dict[str, Path]:
    """Find the default paths: in systemd's directories (the first of several), or beside us."""
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    journal = Path(state, "journal.db") if state else Path("swf-bridge.db")
    held = Path(values.get("journal", journal))
    beside = held.parent / f"{held.stem}.sock"
    return {"journal": journal, "control": Path(runtime, "control.sock") if runtime else beside}


def _present(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _filled_in(entry: object, defaults: Mapping[str, object]) -> object:
    """Complete what an entry leaves out or has as null; leave to the model what is neither."""
    if isinstance(entry, str):
        entry = {"name": entry}
    return {**defaults, **_present(entry)} if isinstance(entry, dict) else entry


def _written(value: object) -> str:
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, tuple) and all(isinstance(each, TaskList) for each in value):
        return json.dumps([each.model_dump(exclude_none=True) for each in value])
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return "" if value is None else str(value)

"""The agent's own settings: defaults, then agent.toml, then the environment. The only reader of the environment.

What is polled and how stands in the site configuration (`protocol.site.plan`), not here.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edge_agent.config_files import explain, read_toml
from edge_agent.errors import SettingsError
from protocol import limits
from protocol.identifiers import ControllerId
from protocol.site_config import SendSchedule

DEFAULT_PATH = Path("/etc/meterhaul/agent.toml")
ENVIRONMENT_PREFIX = "METERHAUL_EDGE_"
_PLAIN_PORT, _TLS_PORT = 1883, 8883
_MIB = 1024 * 1024


def _require_name(path: Path) -> Path:
    if path == Path():
        raise ValueError("names no file")
    return path


FilePath = Annotated[Path, AfterValidator(_require_name)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsSettings(_Section):
    """Files of the encrypted connection; the table's presence switches encryption on."""

    ca: FilePath | None = None
    """Certificates that the broker's is checked against; None takes the system's."""
    cert: FilePath | None = None
    key: FilePath | None = None

    @model_validator(mode="after")
    def _pair_is_whole(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("has only one of 'cert' and 'key'; set both or neither")
        return self


class BrokerSettings(_Section):
    """The MQTT broker, and who we are to it."""

    host: str = Field(min_length=1, max_length=255)
    port: int | None = Field(default=None, ge=1, le=0xFFFF)
    username: str | None = Field(default=None, min_length=1)
    password_file: FilePath | None = None
    keepalive_s: int = Field(default=1200, ge=5, le=65_535)
    """The longest silence to begin with. The agent lowers it where the network forgets sooner."""
    keepalive_max_s: int = Field(default=3600, ge=5, le=65_535)
    """How far it may be raised so that rare batches are the only signs of life."""
    tls: TlsSettings | None = None

    @property
    def port_or_default(self) -> int:
        """Return the port: as set, else 8883 with encryption and 1883 without."""
        return self.port or (_TLS_PORT if self.tls else _PLAIN_PORT)


class UplinkSettings(_Section):
    """How often and how much is sent. The site configuration's own `[uplink]` wins where it says something."""

    send: SendSchedule = SendSchedule.EVERY
    send_every_s: float = Field(default=60, ge=0.1, le=86_400)
    """With `send = "every"`."""
    spread_s: float = Field(default=300, ge=0, le=1_500)
    """With `send = "half_hour"`: controllers share out the boundary over this time."""
    monthly_budget_mb: float | None = Field(default=None, gt=0, le=1_000_000)
    """Millions of bytes per UTC month, headers of TCP/IP included; None = no budget."""
    thin_gauges: bool = False
    """Whether gauges may be reported less often when wider batches are not enough for the budget."""
    interface: str | None = Field(default=None, pattern=r"^[^\s/]{1,15}$")
    """Count all bytes of this network interface; None counts those of our own connection."""
    hello_every_s: float = Field(default=21_600, ge=1, le=86_400)
    health_every_s: float = Field(default=21_600, ge=1, le=86_400)
    health_pause_s: float = Field(default=300, ge=0.1, le=86_400)
    """At least so long between two reports of health, however often something changes."""
    ack_timeout_s: float = Field(default=20, ge=0.1, le=3_600)
    window: int = Field(default=4, ge=1, le=64)
    scans_per_batch: int = Field(default=720, ge=1, le=limits.SEQUENCES_PER_BATCH_MAX)
    backlog_bytes_per_s: int = Field(default=0, ge=0)
    """Pace of what waited through an outage; 0 = no limit of our own, the hub may still set one."""


class BufferSettings(_Section):
    """How much of the card the scans may take."""

    max_bytes: int = Field(default=512 * _MIB, ge=2 * _MIB)
    disk_retry_s: float = Field(default=60, ge=0.1, le=86_400)
    """How often a disk that took nothing at the start is tried again, while scans are kept in memory."""


class PollingSettings(_Section):
    """What polling may take at once."""

    lines_at_once: int = Field(default=400, ge=1, le=10_000)
    """How many buses are polled at the same time, where an agent has more: sockets, and what a modem pool bears."""


class OrdersSettings(_Section):
    """What the hub may order here, and how it proves that it is the hub."""

    keys: tuple[FilePath, ...] = ()
    """Public keys of the hub as PEM files; several, while one takes the place of another."""
    allow_unsigned: bool = False
    """Follow orders without a signature: for a broker that only the hub and this controller can reach."""
    site_from_hub: bool = True
    """Whether a configuration from the hub takes the place of this controller's own site file."""
    confirm_within_s: float = Field(default=600, ge=1, le=86_400)
    """With a new configuration the hub has to be reached within this, or the one before comes back."""

    @field_validator("keys", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        """Take a comma-separated list, as an environment variable gives it."""
        return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given


class LogSettings(_Section):
    """What is logged and how: `auto` is text on a terminal and JSON lines elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"


class Settings(_Section):
    """Everything of agent.toml. Paths are absolute, or relative to the file that names them."""

    controller_id: ControllerId
    data_dir: FilePath = Path("/var/lib/meterhaul")
    site: FilePath = Path("/etc/meterhaul/site.toml")
    broker: BrokerSettings
    uplink: UplinkSettings = UplinkSettings()
    polling: PollingSettings = PollingSettings()
    buffer: BufferSettings = BufferSettings()
    orders: OrdersSettings = OrdersSettings()
    log: LogSettings = LogSettings()

    @property
    def buffer_path(self) -> Path:
        """Return the file that holds the scans."""
        return self.data_dir / "buffer.sqlite3"

    @property
    def orders_path(self) -> Path:
        """Return the file that holds what the hub ordered."""
        return self.data_dir / "orders.sqlite3"

    @property
    def socket_path(self) -> Path:
        """Return the socket at which the running agent answers commands."""
        return self.data_dir / "agent.sock"

    @property
    def broker_username(self) -> str:
        """Return the name under which the agent logs in."""
        return self.broker.username or self.controller_id


def load_settings(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read agent.toml, let METERHAUL_EDGE_* variables win over it, and check that the files it names exist.

    `environment` is the process's own unless given.
    Raises: SettingsError.
    """
    values = read_toml(
        path, remedy="write one (edge_agent/example-agent.toml shows every key) or name another with --config"
    )
    sources = _set_from_environment(values, os.environ if environment is None else environment)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(explain(path, error, sources=sources, known_keys=list_keys())) from None
    settings = Settings.model_validate(_with_absolute_paths(settings.model_dump(), path.absolute().parent))
    _check_files(settings, path)
    return settings


class ServiceManager(NamedTuple):
    """What systemd asked of this process."""

    notify_socket: str | None = None
    watchdog_s: float | None = None
    """How long it may keep silent before it is restarted; None = for ever."""


def read_service_manager(environment: Mapping[str, str] | None = None) -> ServiceManager:
    """Read what the service manager says of itself; nothing where there is none.

    `environment` is the process's own unless given.
    Source: sd_notify(3), sd_watchdog_enabled(3).
    """
    given = os.environ if environment is None else environment
    microseconds, watched = given.get("WATCHDOG_USEC", ""), given.get("WATCHDOG_PID")
    is_watched = microseconds.isdecimal() and int(microseconds) > 0 and watched in (None, str(os.getpid()))
    return ServiceManager(given.get("NOTIFY_SOCKET"), int(microseconds) / 1e6 if is_watched else None)


def read_password(settings: Settings) -> str | None:
    """Read the broker password, without the line's end; None when no file is set.

    Raises: SettingsError.
    """
    path = settings.broker.password_file
    if path is None:
        return None
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(
            f"broker.password_file: {path} cannot be read ({reason}); make it readable for the agent's user"
        ) from None
    if not password:
        raise SettingsError(f"broker.password_file: {path} is empty; write the broker password into its first line")
    return password


def _set_from_environment(values: dict[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Put the variables into `values`; return, by key, the variable that set it.

    Raises: SettingsError for a variable that names no key.
    """
    keys = {ENVIRONMENT_PREFIX + key.replace(".", "_").upper(): key for key in list_keys()}
    sources: dict[str, str] = {}
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        if name not in keys:
            near = difflib.get_close_matches(name, keys, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; remove it"
            raise SettingsError(f"environment: {name} is not a setting that is known here{hint}")
        *tables, last = keys[name].split(".")
        table = values
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                break  # a plain value where a table belongs; the validation says so
        else:
            table[last] = environment[name]
            sources[keys[name]] = f"environment variable {name}"
    return sources


def list_keys(model: type[BaseModel] = Settings, above: str = "") -> Iterator[str]:
    """List every key that holds a plain value, with dots between tables: `broker.tls.ca`."""
    for name, field in model.model_fields.items():
        section = _section_type(field.annotation)
        if section is None:
            yield above + name
        else:
            yield from list_keys(section, f"{above}{name}.")


def _section_type(annotation: object) -> type[_Section] | None:
    choices = getattr(annotation, "__args__", (annotation,))
    return next((c for c in choices if isinstance(c, type) and issubclass(c, _Section)), None)


def _with_absolute_paths(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    return {key: _absolute(value, base) for key, value in values.items()}


def _absolute(value: object, base: Path) -> object:
    if isinstance(value, dict):
        return _with_absolute_paths(value, base)
    if isinstance(value, tuple):
        return tuple(_absolute(item, base) for item in value)
    return base / value if isinstance(value, Path) else value


def _check_files(settings: Settings, path: Path) -> None:
    tls = settings.broker.tls or TlsSettings()
    named = {
        "site": settings.site,
        "broker.password_file": settings.broker.password_file,
        "broker.tls.ca": tls.ca,
        "broker.tls.cert": tls.cert,
        "broker.tls.key": tls.key,
        **{f"orders.keys[{index}]": key for index, key in enumerate(settings.orders.keys)},
    }
    for key, file in named.items():
        if file is not None and not file.is_file():
            raise SettingsError(f"{path}: {key}: there is no file {file}; put it there or correct the path")

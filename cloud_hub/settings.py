"""The hub's settings: environment variables in, one frozen model out. Nothing else here reads the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr

from cloud_hub.errors import SettingsError

DATABASE_URL = "METERHAUL_DATABASE_URL"
BROKER_URL = "METERHAUL_BROKER_URL"
SECRET_KEY_FILE = "METERHAUL_SECRET_KEY_FILE"  # noqa: S105 - the name of a variable, not a secret
DATABASE_EXTENSION = "METERHAUL_DATABASE_EXTENSION"
ARCHIVE_URL = "METERHAUL_ARCHIVE_URL"

_BROKER_PORTS = {"mqtt": 1883, "mqtts": 8883}
_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BrokerAddress(_Frozen):
    """Where the MQTT broker listens and who the hub is there."""

    host: str
    port: int
    user: str | None = None
    password: SecretStr | None = None
    is_tls: bool = False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class HubSettings(_Frozen):
    """What every process of the hub may need to know; each asks for what it does need."""

    database_url: SecretStr
    broker_url: SecretStr | None = None
    secret_key_path: Path | None = None
    database_extension: str = ""
    """What `hub init` switches on beneath the readings: `timescaledb`, `citus`, or nothing."""
    archive_url: str | None = None
    """Where `work` writes what it is about to drop, by fsspec; None drops without."""

    @property
    def broker(self) -> BrokerAddress:
        """Where the broker is.

        Raises: SettingsError when it is not set or makes no sense.
        """
        if self.broker_url is None:
            raise SettingsError(f"{BROKER_URL} is not set: set it to mqtt://USER:PASSWORD@HOST:PORT")
        return parse_broker_url(self.broker_url.get_secret_value())

    @property
    def secret_key_file(self) -> Path:
        """The file with the key that signs sessions.

        Raises: SettingsError when it is not set.
        """
        if self.secret_key_path is None:
            raise SettingsError(f"{SECRET_KEY_FILE} is not set: set it to a file that only the hub may read")
        return self.secret_key_path


def load_settings(environment: Mapping[str, str] | None = None) -> HubSettings:
    """Read the settings from the environment.

    Raises: SettingsError when the database's address is missing or is none.
    """
    values = os.environ if environment is None else environment
    database_url = values.get(DATABASE_URL, "")
    if not database_url:
        raise SettingsError(f"{DATABASE_URL} is not set: set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    if urlsplit(database_url).scheme not in _DATABASE_SCHEMES:
        raise SettingsError(f"{DATABASE_URL} does not begin with postgresql://: the hub keeps its data in PostgreSQL")
    broker_url, secret_key = values.get(BROKER_URL), values.get(SECRET_KEY_FILE)
    return HubSettings(
        database_url=SecretStr(database_url),
        broker_url=SecretStr(broker_url) if broker_url else None,
        secret_key_path=Path(secret_key) if secret_key else None,
        database_extension=values.get(DATABASE_EXTENSION, "").strip().lower(),
        archive_url=values.get(ARCHIVE_URL) or None,
    )


def parse_broker_url(url: str) -> BrokerAddress:
    """Take `mqtt://user:password@host:port` apart; `mqtts` stands for TLS.

    Raises: SettingsError.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in _BROKER_PORTS:
        # The address itself stays out of the message: it holds the password.
        raise SettingsError(f"{BROKER_URL} is no address of a broker: set it to mqtt://USER:PASSWORD@HOST:PORT")
    return BrokerAddress(
        host=host,
        port=port or _BROKER_PORTS[parts.scheme],
        user=unquote(parts.username) if parts.username else None,
        password=SecretStr(unquote(parts.password)) if parts.password else None,
        is_tls=parts.scheme == "mqtts",
    )

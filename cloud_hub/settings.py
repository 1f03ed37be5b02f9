"""The hub's settings: environment variables in, one frozen model out. Nothing else here reads the environment."""

import os
from collections.abc import Mapping
from email.utils import parseaddr
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr

from cloud_hub.errors import SettingsError

DATABASE_URL = "METERHAUL_DATABASE_URL"
BROKER_URL = "METERHAUL_BROKER_URL"
SECRET_KEY_FILE = "METERHAUL_SECRET_KEY_FILE"  # noqa: S105 - the name of a variable, not a secret
SIGNING_KEY_FILE = "METERHAUL_SIGNING_KEY_FILE"
DATABASE_EXTENSION = "METERHAUL_DATABASE_EXTENSION"
ARCHIVE_URL = "METERHAUL_ARCHIVE_URL"
LIVE_TOPICS = "METERHAUL_LIVE_TOPICS"
BROKER_FILES = "METERHAUL_BROKER_FILES"
CORS_ORIGINS = "METERHAUL_CORS_ORIGINS"
REQUESTS_PER_MINUTE = "METERHAUL_REQUESTS_PER_MINUTE"
STRANGERS_REQUESTS_PER_MINUTE = "METERHAUL_STRANGERS_REQUESTS_PER_MINUTE"
LOGINS_PER_MINUTE = "METERHAUL_LOGINS_PER_MINUTE"
SMTP_URL = "METERHAUL_SMTP_URL"
MAIL_FROM = "METERHAUL_MAIL_FROM"
PUBLIC_URL = "METERHAUL_PUBLIC_URL"
TRUSTED_PROXIES = "METERHAUL_TRUSTED_PROXIES"
OIDC_ISSUER = "METERHAUL_OIDC_ISSUER"
OIDC_CLIENT_ID = "METERHAUL_OIDC_CLIENT_ID"
OIDC_CLIENT_SECRET_FILE = "METERHAUL_OIDC_CLIENT_SECRET_FILE"  # noqa: S105 - the name of a variable, not a secret
WEBHOOK_HTTP = "METERHAUL_WEBHOOK_HTTP"
WEBHOOK_PORTS = "METERHAUL_WEBHOOK_PORTS"
WEBHOOK_NETWORKS = "METERHAUL_WEBHOOK_NETWORKS"

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PROXIES_MAX = 10
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


class SmtpSecurity(StrEnum):
    """How a connection to the mail server is kept from others."""

    TLS = "tls"
    STARTTLS = "starttls"
    """Demanded, not only taken when offered: letters hold links that let people in."""
    NONE = "none"


class PostOffice(_Frozen):
    """The mail server that takes our letters, and who they come from."""

    host: str
    port: int
    security: SmtpSecurity
    sender: str
    user: str | None = None
    password: SecretStr | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class RateLimits(_Frozen):
    """Requests that are answered within a minute; 0 sets no limit."""

    per_identity: int = 600
    """To each person and service, by whichever logins and tokens they come."""
    per_address: int = 60
    """To each address from which nobody has proved who they are."""
    logins_per_address: int = 20
    """Attempts to log in, to reset a password, to use a secret link, from each address."""


class WebhookSettings(_Frozen):
    """What webhooks may do beyond the usual, as it was set; `cloud_hub.webhooks.policy` reads it."""

    allows_http: bool = False
    ports: str = ""
    networks: str = ""


class SingleSignOn(_Frozen):
    """The OpenID Connect provider that people may log in at, and who the hub is there."""

    issuer: str
    client_id: str
    client_secret: SecretStr


class HubSettings(_Frozen):
    """What every process of the hub may need to know; each asks for what it does need."""

    database_url: SecretStr
    broker_url: SecretStr | None = None
    secret_key_path: Path | None = None
    signing_key_path: Path | None = None
    """The file with the key by which controllers know the hub's orders; None sends none."""
    database_extension: str = ""
    """What `hub init` switches on beneath the readings: `timescaledb`, `citus`, or nothing."""
    archive_url: str | None = None
    """Where `work` writes what it is about to drop, by fsspec; None drops without."""
    has_live_topics: bool = True
    """Whether committed readings are said to subscribers."""
    broker_files: Path | None = None
    """The broker's directory, where `work` writes the subscribers' logins; None where the broker is elsewhere."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may use the API by tokens."""
    rate_limits: RateLimits = RateLimits()
    trusted_proxies: int = 0
    """How many proxies stand before the web process and say truly where a request came from."""
    single_sign_on: SingleSignOn | None = None
    smtp_url: SecretStr | None = None
    mail_from: str = ""
    public_url: str = ""
    """How people reach the pages, without a slash at its end: stands in letters. Empty: as the page was asked for."""
    webhooks: WebhookSettings = WebhookSettings()

    @property
    def post_office(self) -> PostOffice | None:
        """The mail server; None when none is set, and letters wait in the outbox.

        Raises: SettingsError when what is set makes no sense.
        """
        if self.smtp_url is None:
            return None
        return parse_smtp_url(self.smtp_url.get_secret_value(), self.mail_from)

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

    @property
    def signing_key_file(self) -> Path:
        """The file with the key that signs orders to controllers.

        Raises: SettingsError when it is not set.
        """
        if self.signing_key_path is None:
            raise SettingsError(f"{SIGNING_KEY_FILE} is not set: set it to a file that only the hub may read")
        return self.signing_key_path


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
    smtp_url = values.get(SMTP_URL)
    broker_url, secret_key = values.get(BROKER_URL), values.get(SECRET_KEY_FILE)
    return HubSettings(
        database_url=SecretStr(database_url),
        broker_url=SecretStr(broker_url) if broker_url else None,
        secret_key_path=Path(secret_key) if secret_key else None,
        signing_key_path=Path(signing_key) if (signing_key := values.get(SIGNING_KEY_FILE)) else None,
        database_extension=values.get(DATABASE_EXTENSION, "").strip().lower(),
        archive_url=values.get(ARCHIVE_URL) or None,
        has_live_topics=_parse_switch(LIVE_TOPICS, values.get(LIVE_TOPICS, "")),
        broker_files=Path(values[BROKER_FILES]) if values.get(BROKER_FILES) else None,
        cors_origins=parse_origins(values.get(CORS_ORIGINS, "")),
        rate_limits=_read_rate_limits(values),
        trusted_proxies=_read_trusted_proxies(values.get(TRUSTED_PROXIES, "")),
        single_sign_on=_read_single_sign_on(values),
        smtp_url=SecretStr(smtp_url) if smtp_url else None,
        mail_from=values.get(MAIL_FROM, "").strip(),
        public_url=parse_public_url(values.get(PUBLIC_URL, "")),
        webhooks=WebhookSettings(
            allows_http=values.get(WEBHOOK_HTTP, "").strip().lower() in {"1", "yes", "true"},
            ports=values.get(WEBHOOK_PORTS, ""),
            networks=values.get(WEBHOOK_NETWORKS, ""),
        ),
    )


def _parse_switch(name: str, text: str) -> bool:
    """Read `on` or `off`; left empty, it is on.

    Raises: SettingsError.
    """
    if text.strip().lower() not in {"", "on", "off"}:
        raise SettingsError(f"{name} is {text!r}: set it to on or off")
    return text.strip().lower() != "off"


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


def parse_public_url(url: str) -> str:
    """Return the address of the pages without a slash at its end; an empty one is none.

    Raises: SettingsError.
    """
    parts = urlsplit(url.strip())
    if url.strip() and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise SettingsError(f"{PUBLIC_URL} is {url!r}: set it to the address of the hub's pages, https://HOST")
    return url.strip().rstrip("/")


def parse_smtp_url(url: str, sender: str) -> PostOffice:
    """Take `smtp://user:password@host:port` apart; `smtps` is TLS from the first byte.

    `smtp` begins TLS by STARTTLS, but not to a server on this machine; `?tls=starttls` and `?tls=none` say otherwise.
    Raises: SettingsError.
    """
    try:
        parts = urlsplit(url)
        host, port, options = parts.hostname, parts.port, dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        host = None
    if not host or parts.scheme not in ("smtp", "smtps") or options.keys() - {"tls"}:
        # The address itself stays out of the message: it holds the password.
        raise SettingsError(f"{SMTP_URL} is no address of a mail server: set it to smtp://USER:PASSWORD@HOST:PORT")
    if not all(parseaddr(sender)[1].partition("@")):
        raise SettingsError(f"{MAIL_FROM} is {sender!r}: set it to the address that letters come from")
    usual = SmtpSecurity.NONE if host in _LOOPBACK else SmtpSecurity.STARTTLS
    wanted = options.get("tls", usual)
    if wanted not in (SmtpSecurity.STARTTLS, SmtpSecurity.NONE) or (parts.scheme == "smtps" and options):
        raise SettingsError(f"{SMTP_URL}: tls is starttls or none; for TLS from the first byte begin with smtps://")
    security = SmtpSecurity.TLS if parts.scheme == "smtps" else SmtpSecurity(wanted)
    if security is SmtpSecurity.NONE and parts.password and host not in _LOOPBACK:
        raise SettingsError(f"{SMTP_URL} would send its password for all to read: leave tls=none out, or the password")
    return PostOffice(
        host=host,
        port=port or (465 if security is SmtpSecurity.TLS else 587),
        security=security,
        sender=sender,
        user=unquote(parts.username) if parts.username else None,
        password=SecretStr(unquote(parts.password)) if parts.password else None,
    )


def parse_origins(listed: str) -> tuple[str, ...]:
    """Read a list such as `https://app.example.org, https://other.example.org:8443`.

    Raises: SettingsError for what is no origin; an asterisk is none.
    """
    return tuple(_parse_origin(one.strip()) for one in listed.split(",") if one.strip())


def _parse_origin(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    if (
        parts.scheme not in {"http", "https"}
        or not host
        or "*" in host
        or origin.lower() != _write_origin(parts.scheme, host, port)
    ):
        raise SettingsError(
            f"{CORS_ORIGINS} names {origin!r}, which is no origin: write each as https://HOST or https://HOST:PORT, "
            "without a path and without an asterisk"
        )
    return origin.lower()


def _write_origin(scheme: str, host: str, port: int | None) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}"


def _read_rate_limits(values: Mapping[str, str]) -> RateLimits:
    variables = {
        "per_identity": REQUESTS_PER_MINUTE,
        "per_address": STRANGERS_REQUESTS_PER_MINUTE,
        "logins_per_address": LOGINS_PER_MINUTE,
    }
    given = {field: values[name] for field, name in variables.items() if values.get(name)}
    for field, value in given.items():
        if not value.isascii() or not value.isdecimal() or len(value) > 6:
            raise SettingsError(
                f"{variables[field]} is {value!r}: set it to a whole number of requests a minute, or to 0 for no limit"
            )
    return RateLimits(**{field: int(value) for field, value in given.items()})


def _read_trusted_proxies(count: str) -> int:
    if count and (not count.isascii() or not count.isdecimal() or int(count[:6]) > _PROXIES_MAX):
        raise SettingsError(
            f"{TRUSTED_PROXIES} is {count!r}: set it to the number of proxies before the hub, 0 to {_PROXIES_MAX}"
        )
    return int(count or 0)


def _read_single_sign_on(values: Mapping[str, str]) -> SingleSignOn | None:
    names = (OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET_FILE)
    issuer, client_id, secret_file = (values.get(name, "").strip() for name in names)
    if not (issuer or client_id or secret_file):
        return None
    missing = [name for name, value in zip(names, (issuer, client_id, secret_file), strict=True) if not value]
    if missing:
        raise SettingsError(f"{missing[0]} is not set: single sign-on needs {', '.join(names)}")
    parts = urlsplit(issuer)
    if not parts.hostname or (parts.scheme != "https" and parts.hostname not in _LOOPBACK):
        raise SettingsError(f"{OIDC_ISSUER} is {issuer!r}: set it to the provider's issuer, which begins with https://")
    try:
        secret = Path(secret_file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{OIDC_CLIENT_SECRET_FILE}: {secret_file} cannot be read ({error})") from error
    if not secret:
        raise SettingsError(f"{OIDC_CLIENT_SECRET_FILE}: {secret_file} is empty: write the client's secret into it")
    return SingleSignOn(issuer=issuer, client_id=client_id, client_secret=SecretStr(secret))

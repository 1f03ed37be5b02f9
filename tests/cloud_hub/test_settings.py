"""Settings come from the environment; what is missing or wrong is named with the remedy."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cloud_hub.errors import SettingsError
from cloud_hub.settings import SmtpSecurity, load_settings, parse_broker_url, parse_public_url, parse_smtp_url

DATABASE = "postgresql://hub:sesame@db.example:5432/meterhaul"


def test_the_broker_is_taken_from_its_address() -> None:
    address = parse_broker_url("mqtts://hub:p%40ss@broker.example")
    assert (address.host, address.port, address.user, address.is_tls) == ("broker.example", 8883, "hub", True)
    assert address.password is not None
    assert address.password.get_secret_value() == "p@ss"


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({}, "METERHAUL_DATABASE_URL"),
        ({"METERHAUL_DATABASE_URL": "mysql://hub@db/meterhaul"}, "METERHAUL_DATABASE_URL"),
    ],
    ids=["missing", "another database"],
)
def test_without_a_database_nothing_is_loaded(environment: Mapping[str, str], variable: str) -> None:
    with pytest.raises(SettingsError, match=variable) as caught:
        load_settings(environment)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("url", ["", "http://broker", "mqtt://", "mqtt://u:sesame@host:notaport"])
def test_a_wrong_broker_address_is_refused_without_telling_the_password(url: str) -> None:
    settings = load_settings({"METERHAUL_DATABASE_URL": DATABASE, "METERHAUL_BROKER_URL": url})
    with pytest.raises(SettingsError, match="METERHAUL_BROKER_URL") as caught:
        _ = settings.broker
    assert "sesame" not in str(caught.value)


def test_the_secret_key_file_is_asked_for_only_by_who_needs_it() -> None:
    settings = load_settings({"METERHAUL_DATABASE_URL": DATABASE})
    with pytest.raises(SettingsError, match="METERHAUL_SECRET_KEY_FILE"):
        _ = settings.secret_key_file


def test_secrets_stay_out_of_the_settings_printed_form() -> None:
    settings = load_settings({"METERHAUL_DATABASE_URL": DATABASE, "METERHAUL_BROKER_URL": "mqtt://hub:sesame@b:1"})
    assert "sesame" not in repr(settings)
    assert "sesame" not in repr(settings.broker)


def test_nobody_is_believed_about_addresses_unless_said_so() -> None:
    assert load_settings({"METERHAUL_DATABASE_URL": DATABASE}).trusted_proxies == 0
    settings = load_settings({"METERHAUL_DATABASE_URL": DATABASE, "METERHAUL_TRUSTED_PROXIES": "2"})
    assert settings.trusted_proxies == 2


@pytest.mark.parametrize("count", ["-1", "yes", "1.5", "99", "٣"])
def test_a_wrong_number_of_proxies_is_refused(count: str) -> None:
    with pytest.raises(SettingsError, match="METERHAUL_TRUSTED_PROXIES"):
        load_settings({"METERHAUL_DATABASE_URL": DATABASE, "METERHAUL_TRUSTED_PROXIES": count})


def single_sign_on(**changed: str) -> dict[str, str]:
    names = {"ISSUER": "https://login.example", "CLIENT_ID": "hub", **changed}
    return {"METERHAUL_DATABASE_URL": DATABASE} | {f"METERHAUL_OIDC_{name}": value for name, value in names.items()}


def test_single_sign_on_is_off_until_all_of_it_is_set(tmp_path: Path) -> None:
    assert load_settings({"METERHAUL_DATABASE_URL": DATABASE}).single_sign_on is None
    secret = tmp_path / "secret"
    secret.write_text("sesame\n", encoding="utf-8")
    settings = load_settings(single_sign_on(CLIENT_SECRET_FILE=str(secret)))
    assert settings.single_sign_on is not None
    assert settings.single_sign_on.client_secret.get_secret_value() == "sesame"
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, "METERHAUL_OIDC_CLIENT_SECRET_FILE is not set"),
        ({"CLIENT_SECRET_FILE": "/no/such/file"}, "cannot be read"),
        ({"CLIENT_SECRET_FILE": "/dev/null"}, "is empty"),
        ({"CLIENT_SECRET_FILE": "/dev/null", "ISSUER": "http://login.example"}, "begins with https://"),
        ({"CLIENT_SECRET_FILE": "/dev/null", "CLIENT_ID": ""}, "METERHAUL_OIDC_CLIENT_ID is not set"),
    ],
    ids=["no secret", "no file", "empty file", "readable by all", "no client"],
)
def test_half_a_single_sign_on_is_refused(changed: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        load_settings(single_sign_on(**changed))


@pytest.mark.parametrize(
    ("url", "port", "security"),
    [
        ("smtp://mail.example", 587, SmtpSecurity.STARTTLS),
        ("smtp://localhost:25", 25, SmtpSecurity.NONE),
        ("smtp://127.0.0.1?tls=starttls", 587, SmtpSecurity.STARTTLS),
        ("smtp://relay:1025?tls=none", 1025, SmtpSecurity.NONE),
        ("smtps://hub:p%40ss@mail.example", 465, SmtpSecurity.TLS),
    ],
)
def test_the_mail_server_is_taken_from_its_address(url: str, port: int, security: SmtpSecurity) -> None:
    office = parse_smtp_url(url, "Hub <hub@example.org>")
    assert (office.port, office.security) == (port, security)


@pytest.mark.parametrize(
    ("url", "sender", "variable"),
    [
        ("mail.example", "hub@example.org", "METERHAUL_SMTP_URL"),
        ("smtp://u:sesame@mail.example:x", "hub@example.org", "METERHAUL_SMTP_URL"),
        ("smtp://mail.example?tls=perhaps", "hub@example.org", "METERHAUL_SMTP_URL"),
        ("smtp://u:sesame@mail.example?tls=none", "hub@example.org", "METERHAUL_SMTP_URL"),
        ("smtps://mail.example?tls=none", "hub@example.org", "METERHAUL_SMTP_URL"),
        ("smtp://mail.example", "", "METERHAUL_MAIL_FROM"),
        ("smtp://mail.example", "hub", "METERHAUL_MAIL_FROM"),
    ],
)
def test_a_wrong_mail_server_is_refused_without_telling_the_password(url: str, sender: str, variable: str) -> None:
    with pytest.raises(SettingsError, match=variable) as caught:
        parse_smtp_url(url, sender)
    assert "sesame" not in str(caught.value)


def test_the_address_of_the_pages_is_one() -> None:
    assert parse_public_url("https://hub.example/") == "https://hub.example"
    assert parse_public_url("") == ""
    for url in ("hub.example", "ftp://hub", "https://", "https://hub/?x=1"):
        with pytest.raises(SettingsError, match="METERHAUL_PUBLIC_URL"):
            parse_public_url(url)

"""Settings come from the environment; what is missing or wrong is named with the remedy."""

from collections.abc import Mapping

import pytest

from cloud_hub.errors import SettingsError
from cloud_hub.settings import load_settings, parse_broker_url

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

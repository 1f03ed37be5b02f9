"""Extensions of the database: refused in one sentence where they are not, used where they are."""

import pytest
from closing_factories import NOW, add_read_meter, make_rows, series_of
from sqlalchemy import Engine, text

from cloud_hub.errors import SettingsError
from cloud_hub.settings import load_settings
from cloud_hub.work.compaction import compact
from cloud_hub.work.extensions import Extension, partitions_itself, switch_on
from cloud_hub.work.partitions import make_partitions


def has(engine: Engine, extension: Extension) -> bool:
    query = text("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = :name)")
    with engine.connect() as connection:
        return bool(connection.scalar(query, {"name": extension.value}))


def test_the_setting_names_the_extension() -> None:
    url = "postgresql://hub@db/meterhaul"
    assert load_settings({"METERHAUL_DATABASE_URL": url}).database_extension == ""
    given = {"METERHAUL_DATABASE_URL": url, "METERHAUL_DATABASE_EXTENSION": "Citus"}
    assert load_settings(given).database_extension == "citus"


def test_no_name_changes_nothing(engine: Engine) -> None:
    switch_on(engine, "")
    with engine.connect() as connection:
        assert not partitions_itself(connection, "scans")


def test_an_unknown_extension_is_refused_with_those_that_are_known(engine: Engine) -> None:
    with pytest.raises(SettingsError, match="METERHAUL_DATABASE_EXTENSION is 'oracle': set it to timescaledb or citus"):
        switch_on(engine, "oracle")


@pytest.mark.parametrize("extension", Extension)
def test_an_extension_that_the_server_does_not_have_is_refused_with_the_remedy(
    engine: Engine, extension: Extension
) -> None:
    if has(engine, extension):
        pytest.skip(f"this server has {extension}")
    with pytest.raises(SettingsError, match=f"does not have the extension {extension}: install it there, or leave"):
        switch_on(engine, extension)


@pytest.mark.parametrize("extension", Extension)
def test_an_extension_keeps_the_readings_and_nothing_else_changes(engine: Engine, extension: Extension) -> None:
    if not has(engine, extension):
        pytest.skip(f"this server does not have {extension}")
    switch_on(engine, extension)
    switch_on(engine, extension)
    make_partitions(engine, NOW)
    meter = add_read_meter(engine, make_rows(12 * 24), step_s=3600)
    series = series_of(engine, meter)
    assert len(series[0]) == 12 * 24
    compact(engine, NOW)
    assert series_of(engine, meter) == series

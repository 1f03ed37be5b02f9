"""Migrations make what the models describe; every way not to reach the database is said in one sentence."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, make_url, text
from sqlalchemy.orm import Session

import cloud_hub.schema.tables  # noqa: F401 - all tables are registered by being imported
from cloud_hub import db
from cloud_hub.errors import DatabaseRefused, DatabaseUnreachable, NotMigrated, SettingsError
from cloud_hub.readings.models import Stream
from cloud_hub.schema.upgrade import upgrade
from protocol.ranges import RangeSet


def _is_compared(name: str | None, kind: str, _parents: object) -> bool:
    return not (kind == "table" and name is not None and name.startswith(("scans_", "scan_days_", "point_days_")))


def test_migrations_make_exactly_what_the_models_describe(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": _is_compared})
        assert compare_metadata(context, db.Base.metadata) == []


def test_several_may_upgrade_at_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(upgrade, [empty_database_url] * 3))
    engine = db.create_engine(empty_database_url)
    db.check_migrated(engine)
    engine.dispose()


def test_an_unmigrated_database_is_named_with_the_remedy(empty_database_url: str) -> None:
    engine = db.create_engine(empty_database_url)
    with pytest.raises(NotMigrated, match=r"is at revision none, this release needs \d{4}: run 'meterhaul hub init'"):
        db.check_migrated(engine)
    engine.dispose()


def test_a_database_of_a_later_release_will_do(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    db.check_migrated(engine)


def test_a_database_that_does_not_exist_is_refused_without_telling_the_password(postgres_url: str) -> None:
    url = make_url(postgres_url).set(database="no_such_database", password="sesame")
    engine = db.create_engine(url.render_as_string(hide_password=False))
    with pytest.raises(DatabaseRefused, match=r"'no_such_database'.*METERHAUL_DATABASE_URL") as caught:
        db.check_reachable(engine)
    assert "sesame" not in str(caught.value)
    engine.dispose()


def test_a_database_that_does_not_answer_is_named_with_its_address() -> None:
    engine = db.create_engine("postgresql://hub:sesame@127.0.0.1:1/meterhaul")
    with pytest.raises(DatabaseUnreachable, match=r"'meterhaul' on 127\.0\.0\.1:1 does not answer.*start it") as caught:
        db.check_reachable(engine)
    assert "sesame" not in str(caught.value)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="METERHAUL_DATABASE_URL"):
        db.create_engine("postgresql://:::/")


@pytest.mark.parametrize("ranges", [RangeSet(), RangeSet([(1, 1)]), RangeSet([(1, 9), (11, 2**53 - 1)])], ids=str)
def test_sets_of_numbers_come_back_as_they_went_in(session: Session, ranges: RangeSet) -> None:
    session.add(Stream(controller_id="north-1", stream_id=b"s" * 16, committed=ranges))
    session.commit()
    session.expire_all()
    assert session.query(Stream).one().committed == ranges

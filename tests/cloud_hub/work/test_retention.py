"""Retention: each organisation keeps what it wants, whole months go, and nothing goes before it is archived."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest
from closing_factories import FIRST_DAY, ReadMeter, add_read_meter, count_rows, make_rows, series_of
from sqlalchemy import Engine, text

from cloud_hub.work.compaction import compact
from cloud_hub.work.retention import Kind, drop_expired

HOURLY_S = 3600.0
DAYS = 40
"""The last two of January, all of February, and nine of March."""
NOW = datetime(2026, 3, 20, tzinfo=UTC)
JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)


@dataclass
class Shelf:
    """An archive that counts what it could have read, and fails when told to."""

    engine: Engine
    fails: bool = False
    asked: list[tuple[Kind, int, date, date]] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)

    def before_drop(self, kind: Kind, organisation_id: int, first: date, end: date) -> None:
        if self.fails:
            raise OSError("the shelf is full")
        self.asked.append((kind, organisation_id, first, end))
        table, at = {
            "readings": ("point_days", "day"),
            "ledger": ("ledger_days", "day"),
            "audit": ("audit_events", "at"),
        }[kind]
        query = text(f"SELECT count(*) FROM {table} WHERE {at} >= :first AND {at} < :end")
        with self.engine.connect() as connection:
            self.seen.append(int(connection.execute(query, {"first": first, "end": end}).scalar_one()))


@pytest.fixture
def meter(engine: Engine) -> ReadMeter:
    """Forty closed days of the main organisation."""
    meter = add_read_meter(engine, make_rows(DAYS * 24), step_s=HOURLY_S)
    compact(engine, NOW)
    assert count_rows(engine, "scans") == 0
    return meter


@pytest.fixture
def their_meter(engine: Engine, meter: ReadMeter) -> ReadMeter:  # noqa: ARG001 - it comes second
    """The same of another organisation, which keeps everything."""
    theirs = add_read_meter(engine, make_rows(DAYS * 24), slug="theirs", step_s=HOURLY_S)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO organisations (id, slug, name) VALUES (2, 'theirs', 'Theirs')"))
        connection.execute(text("UPDATE sites SET organisation_id = 2 WHERE slug = 'theirs'"))
    compact(engine, NOW)
    return theirs


def keep(engine: Engine, *, organisation_id: int = 1, **days: int) -> None:
    with engine.begin() as connection:
        for name, kept in days.items():
            connection.execute(
                text(f"UPDATE organisations SET {name} = :kept WHERE id = :id"), {"kept": kept, "id": organisation_id}
            )


def days_left(engine: Engine, meter: ReadMeter) -> int:
    return len(series_of(engine, meter, days=60)[0]) // 24


def test_without_a_policy_everything_stays_for_ever(engine: Engine, meter: ReadMeter) -> None:
    assert drop_expired(engine, NOW + timedelta(days=5_000)).months == []
    assert days_left(engine, meter) == DAYS


def test_a_month_goes_when_its_last_day_is_old_enough(engine: Engine, meter: ReadMeter) -> None:
    keep(engine, readings_kept_days=30)
    dropped = drop_expired(engine, NOW)
    assert dropped.months == [("readings", 1, JANUARY)]
    assert sorted(dropped.partitions) == ["point_days_2026_01", "scan_days_2026_01"]
    assert days_left(engine, meter) == DAYS - 2
    assert drop_expired(engine, datetime(2026, 3, 31, tzinfo=UTC)).months == []
    assert drop_expired(engine, datetime(2026, 4, 1, tzinfo=UTC)).months == [("readings", 1, FEBRUARY)]
    assert days_left(engine, meter) == DAYS - 30


def test_what_another_organisation_keeps_stays_in_its_partition(
    engine: Engine, meter: ReadMeter, their_meter: ReadMeter
) -> None:
    keep(engine, readings_kept_days=30)
    dropped = drop_expired(engine, NOW)
    assert (dropped.months, dropped.partitions, dropped.failed) == ([("readings", 1, JANUARY)], [], 0)
    assert (days_left(engine, meter), days_left(engine, their_meter)) == (DAYS - 2, DAYS)
    keep(engine, organisation_id=2, readings_kept_days=30)
    assert len(drop_expired(engine, NOW).partitions) == 2
    assert (days_left(engine, meter), days_left(engine, their_meter)) == (DAYS - 2, DAYS - 2)


def test_readings_of_an_expired_month_that_come_late_go_too(engine: Engine, meter: ReadMeter) -> None:
    keep(engine, readings_kept_days=30)
    drop_expired(engine, NOW)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO scans SELECT :at, :meter, id, '{1,2,3,4}', NULL FROM layouts"),
            {"at": FIRST_DAY, "meter": meter.meter_id},
        )
    assert drop_expired(engine, NOW).months == []
    compact(engine, NOW)
    assert drop_expired(engine, NOW).months == [("readings", 1, JANUARY)]
    assert days_left(engine, meter) == DAYS - 2


def test_it_is_remembered_from_when_on_readings_can_be_computed_again(engine: Engine, meter: ReadMeter) -> None:
    keep(engine, readings_kept_days=30)
    assert days_left(engine, meter) == DAYS
    drop_expired(engine, NOW)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT readings_from FROM organisations")) == FEBRUARY


def test_the_archive_has_everything_before_it_goes(engine: Engine, meter: ReadMeter, their_meter: ReadMeter) -> None:
    for organisation_id in (1, 2):
        keep(engine, organisation_id=organisation_id, readings_kept_days=30)
    shelf = Shelf(engine)
    drop_expired(engine, NOW, shelf)
    assert shelf.asked == [("readings", 1, JANUARY, FEBRUARY), ("readings", 2, JANUARY, FEBRUARY)]
    assert shelf.seen == [16, 16]
    assert (days_left(engine, meter), days_left(engine, their_meter)) == (DAYS - 2, DAYS - 2)


def test_what_cannot_be_archived_stays_until_it_can(engine: Engine, meter: ReadMeter) -> None:
    keep(engine, readings_kept_days=30, audit_kept_days=30)
    add_audit(engine, FIRST_DAY)
    dropped = drop_expired(engine, NOW, Shelf(engine, fails=True))
    assert (dropped.months, dropped.failed) == ([], 2)
    assert days_left(engine, meter) == DAYS
    assert count_rows(engine, "audit_events") == 1
    assert drop_expired(engine, NOW, Shelf(engine)).failed == 0
    assert days_left(engine, meter) == DAYS - 2
    assert count_rows(engine, "audit_events") == 0


def add_audit(engine: Engine, at: datetime) -> None:
    query = "INSERT INTO audit_events (at, organisation_id, who, action, subject, detail) VALUES (:at, 1, 'cli', 'a', 'b', '{}')"
    with engine.begin() as connection:
        connection.execute(text(query), {"at": at})


def add_ledger(engine: Engine, point_id: int, day: date) -> None:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    parameters = {"point": point_id, "day": day, "month": day.replace(day=1), "start": start}
    with engine.begin() as connection:
        for query in (
            (
                "INSERT INTO ledger_days (start_at, end_at, point_id, total_micro, day, interval_s, calculation, completeness, "
                "amounts_micro, qualities, completenesses, known_at) "
                "VALUES (:start, :start, :point, 0, :day, 1800, 1, 0, '{}', '{}', '{}', '{}')"
            ),
            "INSERT INTO ledger_superseded VALUES (:start, :start, :point, 0, 0, :start, :start, 0, 0, 0, 0, 1)",
            "INSERT INTO ledger_findings (point_id, kind, from_at, to_at, detail) VALUES (:point, 'gap', :start, :start, '{}')",
            "INSERT INTO ledger_months VALUES (:point, :month, 0, 0, 0, 0, 1)",
        ):
            connection.execute(text(query), parameters)


def ledger_rows(engine: Engine) -> list[int]:
    return [
        count_rows(engine, table) for table in ("ledger_days", "ledger_superseded", "ledger_findings", "ledger_months")
    ]


def test_the_ledger_has_a_period_of_its_own(engine: Engine, meter: ReadMeter, their_meter: ReadMeter) -> None:
    for day in (date(2025, 12, 31), date(2026, 1, 1), date(2026, 2, 1)):
        add_ledger(engine, meter.point_ids[0], day)
        add_ledger(engine, their_meter.point_ids[0], day)
    keep(engine, ledger_kept_days=30)
    shelf = Shelf(engine)
    dropped = drop_expired(engine, NOW, shelf)
    assert dropped.months == [("ledger", 1, date(2025, 12, 1)), ("ledger", 1, JANUARY)]
    assert shelf.asked == [("ledger", 1, date(2025, 12, 1), JANUARY), ("ledger", 1, JANUARY, FEBRUARY)]
    assert ledger_rows(engine) == [4, 4, 4, 4]
    assert days_left(engine, meter) == DAYS


def test_what_changes_while_it_is_archived_stays_for_the_next_round(engine: Engine, meter: ReadMeter) -> None:
    class Meddler(Shelf):
        def before_drop(self, kind: Kind, organisation_id: int, first: date, end: date) -> None:
            super().before_drop(kind, organisation_id, first, end)
            if len(self.asked) == 1:
                add_audit(engine, FIRST_DAY)
            with self.engine.begin() as connection:
                if len(self.asked) == 3:
                    connection.execute(text("UPDATE ledger_days SET total_micro = 7"))

    add_audit(engine, FIRST_DAY)
    add_ledger(engine, meter.point_ids[0], FIRST_DAY.date())
    keep(engine, audit_kept_days=30)
    archive = Meddler(engine)
    assert drop_expired(engine, NOW, archive).failed == 1
    assert count_rows(engine, "audit_events") == 2
    assert drop_expired(engine, NOW, archive).failed == 0
    assert archive.seen == [1, 2]
    assert count_rows(engine, "audit_events") == 0
    keep(engine, ledger_kept_days=30)
    assert drop_expired(engine, NOW, archive).failed == 1
    assert count_rows(engine, "ledger_days") == 1
    assert drop_expired(engine, NOW, archive).failed == 0
    assert count_rows(engine, "ledger_days") == 0

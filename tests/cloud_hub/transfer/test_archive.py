"""What is archived can be read back whole; what is not whole is never in the archive; what comes back comes once."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hub_factories import Reading, add_controller, add_layout, add_meter, add_point, add_scans, add_site
from sqlalchemy import Engine, insert, text
from sqlalchemy.orm import Session
from transfer_factories import add_ledger_day, add_register_point, count_rows, stored_readings

from cloud_hub.audit.service import record
from cloud_hub.energy.model import Cause, IntervalQuality
from cloud_hub.errors import Invalid, NotFound
from cloud_hub.ledger.models import LedgerFinding, LedgerMonth, ledger_superseded
from cloud_hub.transfer.archive import KINDS, ParquetArchive, restore
from cloud_hub.transfer.archive_store import ArchiveFailed, ArchiveStore, Part
from cloud_hub.work.compaction import compact
from cloud_hub.work.retention import Archive, drop_expired
from protocol.quality import Quality

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
LEDGER = ("ledger_days", "ledger_months", "ledger_superseded", "ledger_findings")


@pytest.fixture
def store(tmp_path: Path) -> ArchiveStore:
    return ArchiveStore(tmp_path.as_uri())


@pytest.fixture
def archive(engine: Engine, tmp_path: Path) -> ParquetArchive:
    return ParquetArchive(engine, tmp_path.as_uri())


def add_readings(session: Session) -> None:
    meter = add_meter(session, add_controller(session, add_site(session)))
    points = [add_point(session, meter), add_point(session, meter, "frequency", quantity="frequency", unit="Hz")]
    rows: list[list[Reading]] = [[0.1, 50.0], [(None, Quality.TIMEOUT), (1e-300, Quality.OUT_OF_RANGE)], [-0.0, 7.0]]
    add_scans(session, meter, points, rows, start=datetime(2026, 1, 31, 23, 59, 57, tzinfo=UTC))
    add_scans(session, meter, points[1:], [[51.0]], start=datetime(2026, 1, 31, 23, 59, 57, tzinfo=UTC))
    add_scans(session, meter, points, [[1.0, 2.0]], start=datetime(2026, 2, 1, tzinfo=UTC))
    session.commit()


def add_ledger(session: Session) -> None:
    point = add_register_point(session)
    add_ledger_day(session, point, date(2026, 1, 31), causes={3: Cause.GAP}, qualities={3: IntervalQuality.ESTIMATED})
    add_ledger_day(session, point, FEBRUARY)
    session.add(
        LedgerMonth(
            point_id=point.id, month=JANUARY, total_micro=5, estimated_micro=1, edited_micro=0, completeness=999, days=1
        )
    )
    at = datetime(2026, 1, 15, tzinfo=UTC)
    session.add(LedgerFinding(point_id=point.id, kind="gap", from_at=at, to_at=at, detail={"micro": 5}))
    old: dict[str, Any] = dict.fromkeys(
        ("amount_micro", "registered_micro", "causes", "quality", "completeness", "method", "calculation"), 1
    )
    session.execute(
        insert(ledger_superseded).values(
            start_at=at,
            end_at=at,
            point_id=point.id,
            known_from=at,
            known_until=datetime(2026, 2, 1, tzinfo=UTC),
            **old,
        )
    )
    record(session, 1, who="ann", action="exchange_recorded", subject="point:1", detail={"opening": "15.3"})
    session.execute(text("UPDATE audit_events SET at = '2026-01-20T00:00:00Z'"))
    session.commit()


def content_of(engine: Engine, table: str) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text(f"SELECT t::text FROM {table} t ORDER BY 1")))


def test_it_is_what_retention_asks_for(archive: ParquetArchive) -> None:
    asked: Archive = archive
    for kind in KINDS:
        asked.before_drop(kind, 1, JANUARY, FEBRUARY)
    assert set(KINDS) == {"readings", "ledger", "audit"}


def test_what_retention_drops_can_be_had_back(
    engine: Engine, session: Session, archive: ParquetArchive, store: ArchiveStore
) -> None:
    add_readings(session)
    session.execute(text("UPDATE organisations SET readings_kept_days = 60"))
    session.commit()
    before = stored_readings(engine)
    compact(engine, datetime(2026, 6, 1, tzinfo=UTC))
    assert count_rows(engine, "scans") == [0]
    drop_expired(engine, datetime(2026, 6, 1, tzinfo=UTC), archive)
    assert stored_readings(engine) == []
    assert [part.month for part in store.list_parts()] == [JANUARY, FEBRUARY]
    assert restore(engine, store, store.list_parts()).restored == len(before)
    assert stored_readings(engine) == before


def test_readings_go_by_month_and_come_back_as_they_were(
    engine: Engine, session: Session, archive: ParquetArchive, store: ArchiveStore
) -> None:
    add_readings(session)
    before = stored_readings(engine)
    archive.before_drop("readings", 1, JANUARY, FEBRUARY)
    parts = store.list_parts()
    assert [(part.kind, part.organisation, part.month) for part in parts] == [("readings", "main", JANUARY)]
    session.execute(text("DELETE FROM scans WHERE observed_at < '2026-02-01'"))
    session.commit()
    done = restore(engine, store, parts)
    assert (done.rows, done.restored, done.unknown) == (7, 7, set())
    assert stored_readings(engine) == before


def test_what_is_there_comes_back_no_second_time(
    engine: Engine, session: Session, archive: ParquetArchive, store: ArchiveStore
) -> None:
    add_readings(session)
    before = stored_readings(engine)
    archive.before_drop("readings", 1, JANUARY, FEBRUARY)
    assert restore(engine, store, store.list_parts()).restored == 0
    assert stored_readings(engine) == before


def test_restored_readings_are_due_in_the_ledger(
    engine: Engine, session: Session, archive: ParquetArchive, store: ArchiveStore
) -> None:
    add_readings(session)
    archive.before_drop("readings", 1, JANUARY, FEBRUARY)
    session.execute(text("DELETE FROM scans"))
    session.commit()
    restore(engine, store, store.list_parts())
    with engine.connect() as connection:
        assert set(connection.scalars(text("SELECT meter_id FROM ledger_dirty"))) == {1}


def test_the_same_month_again_is_the_same_file_and_late_rows_make_another(
    session: Session, archive: ParquetArchive, store: ArchiveStore, engine: Engine
) -> None:
    add_readings(session)
    archive.before_drop("readings", 1, JANUARY, FEBRUARY)
    archive.before_drop("readings", 1, JANUARY, FEBRUARY)
    assert len(store.list_parts()) == 1
    session.execute(
        text("UPDATE scans SET observed_at = observed_at - interval '1 day' WHERE observed_at < '2026-02-01'")
    )
    session.commit()
    archive.before_drop("readings", 1, JANUARY, FEBRUARY)
    assert len(store.list_parts()) == 2
    assert restore(engine, store, store.list_parts()).restored == 7


@pytest.mark.parametrize("table", LEDGER)
def test_the_ledger_comes_back_row_by_row(
    engine: Engine, session: Session, archive: ParquetArchive, store: ArchiveStore, table: str
) -> None:
    add_ledger(session)
    before = content_of(engine, table)
    archive.before_drop("ledger", 1, JANUARY, FEBRUARY)
    parts = store.list_parts(table)
    assert restore(engine, store, parts).restored == 0
    session.execute(text(f"DELETE FROM {table}"))
    session.commit()
    done = restore(engine, store, parts)
    assert (done.rows, done.restored) == (1, 1)
    # Its number in its table is the one thing that a finding does not keep.
    strip = (lambda row: row.partition(",")[2]) if table == "ledger_findings" else str
    january = [row for row in before if "2026-02-01" not in row.split(",")[4]]
    assert [strip(row) for row in content_of(engine, table)] == [strip(row) for row in january]


def test_the_audit_trail_is_kept_with_its_hashes_and_not_put_back(
    engine: Engine, session: Session, archive: ParquetArchive, store: ArchiveStore
) -> None:
    add_ledger(session)
    number, digest = session.execute(text("SELECT number, hash FROM audit_events")).one()
    archive.before_drop("audit", 1, JANUARY, FEBRUARY)
    (part,) = store.list_parts()
    assert [(row["number"], row["hash"]) for batch in store.read(part) for row in batch.to_pylist()] == [
        (number, bytes(digest))
    ]
    done = restore(engine, store, [part])
    assert (done.restored, done.sealed) == (0, 1)


def test_another_database_takes_what_it_knows_and_names_the_rest(
    engine: Engine, session: Session, archive: ParquetArchive, store: ArchiveStore
) -> None:
    add_readings(session)
    archive.before_drop("readings", 1, JANUARY, FEBRUARY)
    for table in ("scans", "scan_latest", "layouts", "points", "meters"):
        session.execute(text(f"DELETE FROM {table}"))
    # The same meter under another number, with one of its points.
    meter = add_meter(session, session.get_one(type(add_controller(session, add_site(session, "x"), "y")), "north-1"))
    add_layout(session, meter, [add_point(session, meter, "frequency", quantity="frequency", unit="Hz")])
    session.commit()
    done = restore(engine, store, store.list_parts())
    assert (done.rows, done.restored, done.unknown) == (7, 4, {"north-1/heater/active_power_total"})
    assert {point for _, point, *_ in stored_readings(engine)} == {"frequency"}


def test_a_month_without_rows_makes_no_file(archive: ParquetArchive, store: ArchiveStore, tmp_path: Path) -> None:
    for kind in KINDS:
        archive.before_drop(kind, 1, JANUARY, FEBRUARY)
    assert store.list_parts() == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_organisations_archive_holds_no_others_rows(
    session: Session, archive: ParquetArchive, store: ArchiveStore
) -> None:
    add_readings(session)
    session.execute(text("INSERT INTO organisations (slug, name) VALUES ('other', 'Other')"))
    session.commit()
    archive.before_drop("readings", 2, JANUARY, FEBRUARY)
    assert store.list_parts() == []
    with pytest.raises(NotFound, match="no organisation 3"):
        archive.before_drop("readings", 3, JANUARY, FEBRUARY)


def test_what_does_not_come_back_as_it_was_written_is_not_in_the_archive(
    session: Session, archive: ParquetArchive, store: ArchiveStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_readings(session)
    verify = ArchiveStore._verify

    def spoil_first(self: ArchiveStore, path: str, checksum: str, rows: int) -> None:
        content = bytearray(Path(path).read_bytes())
        content[20] ^= 1
        Path(path).write_bytes(content)
        verify(self, path, checksum, rows)

    monkeypatch.setattr(ArchiveStore, "_verify", spoil_first)
    with pytest.raises((ArchiveFailed, OSError)):
        archive.before_drop("readings", 1, JANUARY, FEBRUARY)
    assert store.list_parts() == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_damaged_file_is_named(
    session: Session, archive: ParquetArchive, store: ArchiveStore, tmp_path: Path
) -> None:
    add_readings(session)
    archive.before_drop("readings", 1, JANUARY, FEBRUARY)
    part = store.list_parts()[0]
    path = tmp_path / part.path
    content = bytearray(path.read_bytes())
    content[40] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArchiveFailed, match=part.name):
        list(store.read(part))
    with pytest.raises(NotFound, match="has no file"):
        list(store.read(Part("readings", "main", FEBRUARY, part.name, 1)))


def test_any_place_that_fsspec_reaches_will_do(engine: Engine, session: Session) -> None:
    add_readings(session)
    ParquetArchive(engine, "memory://archive").before_drop("readings", 1, JANUARY, FEBRUARY)
    store = ArchiveStore("memory://archive")
    assert [part.month for part in store.list_parts()] == [JANUARY]
    assert sum(len(batch) for batch in store.read(store.list_parts()[0])) == 7
    with pytest.raises(Invalid, match="nowhere://x"):
        ArchiveStore("nowhere://x")


def test_a_file_that_cannot_be_put_back_leaves_nothing_of_itself(
    engine: Engine, session: Session, archive: ParquetArchive, store: ArchiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_readings(session)
    archive.before_drop("readings", 1, JANUARY, FEBRUARY)
    session.execute(text("DELETE FROM scans"))
    session.commit()

    def fail(*_: object) -> None:
        raise RuntimeError("the power went")

    monkeypatch.setattr("cloud_hub.transfer.storing.mark_scans", fail)
    with pytest.raises(RuntimeError):
        restore(engine, store, store.list_parts())
    assert count_rows(engine, "scans") == [0]

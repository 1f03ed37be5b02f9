"""Partitions of open and closed days."""

from datetime import UTC, datetime

from closing_factories import FIRST_DAY, NOW, add_read_meter, count_rows, make_rows, series_of
from sqlalchemy import Engine, text

from cloud_hub.work.compaction import compact
from cloud_hub.work.partitions import (
    CLOSED,
    OPEN,
    Month,
    drop_empty_open_partitions,
    list_partitions,
    make_closed_partitions,
    make_partitions,
)

SPRING = datetime(2026, 5, 10, tzinfo=UTC)


def partitions(engine: Engine, table: str) -> list[str]:
    with engine.connect() as connection:
        return list(list_partitions(connection, table).values())


def test_months_of_closed_days_are_made_once(engine: Engine) -> None:
    january = Month(2026, 1)
    assert sorted(make_closed_partitions(engine, [january])) == ["point_days_2026_01", "scan_days_2026_01"]
    assert make_closed_partitions(engine, [january, january]) == []


def test_a_partition_of_closed_days_is_kept_as_its_table_says(engine: Engine) -> None:
    make_closed_partitions(engine, [Month(2026, 1)])
    query = text(
        "SELECT attname, attcompression, attstattarget FROM pg_attribute "
        "WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 ORDER BY 1"
    )
    with engine.connect() as connection:
        for table in CLOSED:
            ours, parent = (connection.execute(query, {"table": name}).all() for name in (f"{table}_2026_01", table))
            assert ours == parent


def test_the_compression_is_the_fastest_that_the_server_has(engine: Engine) -> None:
    with engine.connect() as connection:
        has_lz4 = connection.scalar(
            text("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
        )
        used = connection.scalar(
            text(
                "SELECT attcompression::text FROM pg_attribute WHERE attrelid = 'point_days'::regclass AND attname = 'int4s'"
            )
        )
    assert used == ("l" if has_lz4 else "")


def test_old_months_without_an_open_scan_go_and_come_back_for_late_ones(engine: Engine) -> None:
    make_partitions(engine, FIRST_DAY)
    meter = add_read_meter(engine, make_rows(12 * 24), step_s=3600)
    assert drop_empty_open_partitions(engine, NOW) == []
    compact(engine, SPRING)
    assert drop_empty_open_partitions(engine, SPRING) == ["scans_2026_01", "scans_2026_02"]
    assert len(series_of(engine, meter)[0]) == 12 * 24
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO scans SELECT :at, :meter, id, '{1,2,3,4}', NULL FROM layouts"),
            {"at": FIRST_DAY, "meter": meter.meter_id},
        )
    assert "scans_2026_01" in make_partitions(engine, SPRING)
    assert drop_empty_open_partitions(engine, SPRING) == []
    assert len(series_of(engine, meter)[0]) == 12 * 24 + 1


def test_scans_of_other_tables_names_are_no_partitions(engine: Engine) -> None:
    make_partitions(engine, NOW)
    assert partitions(engine, OPEN) == ["scans_2026_02", "scans_2026_03", "scans_2026_04", "scans_2026_05"]
    assert count_rows(engine, "scans_default") == 0

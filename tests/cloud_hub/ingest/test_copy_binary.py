"""What COPY is given is what the table then holds: each value, each quality, each time."""

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from cloud_hub.ingest.copy_binary import ScanRows, newest
from cloud_hub.ingest.decode import ScanColumns
from cloud_hub.ingest.scan_rows import copy_scans
from protocol import limits

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = st.integers(limits.OBSERVED_AT_MS_MIN, limits.OBSERVED_AT_MS_MAX)


@st.composite
def scan_rows(draw: st.DrawFn) -> ScanRows:
    scans, points = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    values = draw(st.lists(st.floats(allow_nan=False), min_size=scans * points, max_size=scans * points))
    quality = draw(st.none() | st.lists(st.integers(0, 511), min_size=scans * points, max_size=scans * points))
    times = draw(st.lists(_TIMES, min_size=scans, max_size=scans))
    columns = ScanColumns(
        layout=0,
        sequences=np.arange(1, scans + 1),
        observed_at_ms=np.array(times),
        values=np.array(values).reshape(scans, points),
        quality=None if quality is None else np.array(quality, dtype=np.int16).reshape(scans, points),
    )
    return ScanRows(draw(st.integers(1, 2**62)), draw(st.integers(1, 2**30)), columns)


def expected(rows: ScanRows) -> list[tuple[object, ...]]:
    columns = rows.columns
    found: list[tuple[object, ...]] = []
    for n, at_ms in enumerate(columns.observed_at_ms.tolist()):
        quality = None if columns.quality is None or not columns.quality[n].any() else columns.quality[n].tolist()
        found.append(
            (EPOCH + timedelta(milliseconds=at_ms), rows.meter_id, rows.layout_id, columns.values[n].tolist(), quality)
        )
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(scan_rows(), min_size=1, max_size=4))
def test_rows_come_back_as_they_went_in(engine: Engine, rows: list[ScanRows]) -> None:
    with engine.connect() as connection:
        copy_scans(connection, rows)
        held = [tuple(row) for row in connection.execute(text("SELECT * FROM scans"))]
        connection.rollback()
    assert sorted(held, key=repr) == sorted((row for one in rows for row in expected(one)), key=repr)


def test_missing_values_are_stored_as_nan(engine: Engine) -> None:
    columns = ScanColumns(
        0, np.array([1]), np.array([1_790_000_000_000]), np.array([[np.nan, 2.0]]), np.array([[1, 0]], dtype=np.int16)
    )
    with engine.connect() as connection:
        copy_scans(connection, [ScanRows(1, 1, columns)])
        is_nan, second = connection.execute(text('SELECT "values"[1] = \'NaN\', "values"[2] FROM scans')).one()
    assert (is_nan, second) == (True, 2.0)


def test_the_newest_scan_of_each_layout_is_found_wherever_it_is() -> None:
    def columns(*times: int) -> ScanColumns:
        values = np.array([[float(at)] for at in times])
        return ScanColumns(0, np.arange(len(times)), np.array(times), values, None)

    found = newest([ScanRows(1, 1, columns(5, 9, 7)), ScanRows(2, 2, columns(3)), ScanRows(1, 1, columns(8))])
    assert {row.layout_id: row.columns.values.tolist() for row in found} == {1: [[9.0]], 2: [[3.0]]}

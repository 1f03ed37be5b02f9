"""An export's memory does not grow with the range that it covers."""

import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hub_factories import add_controller, add_layout, add_meter, add_point, add_site
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.transfer import parquet_out, windows
from cloud_hub.transfer.exporting import Format, Order, What, begin_export
from cloud_hub.transfer.selection import Selection, make_range

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 20


@pytest.fixture(autouse=True)
def _minute_readings(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "READINGS_PER_WINDOW", 1_440)
    monkeypatch.setattr(parquet_out, "ROWS_PER_GROUP", 1_440)
    meter = add_meter(session, add_controller(session, add_site(session)), period_s=60)
    layout = add_layout(session, meter, [add_point(session, meter)])
    session.execute(
        text(
            "INSERT INTO scans (observed_at, meter_id, layout_id, values) "
            "SELECT :start + n * interval '1 minute', :meter, :layout, ARRAY[n::float8] FROM generate_series(0, :count) n"
        ),
        {"start": START, "meter": meter.id, "layout": layout.id, "count": DAYS * 1_440 - 1},
    )
    session.commit()


def export(session: Session, format_: Format, days: int) -> Iterator[bytes]:
    order = Order(
        what=What.READINGS,
        format=format_,
        selection=Selection(),
        range=make_range(START, START + timedelta(days=days)),
    )
    return begin_export(session, order).chunks


def peak_bytes(engine: Engine, format_: Format, days: int) -> tuple[int, int]:
    """Return the most memory that an export had in use at once, and how long its file was."""
    with Session(engine) as session:
        list(export(session, format_, 1))  # what is made once, such as caches
        tracemalloc.start()
        try:
            written = arrow = 0
            for chunk in export(session, format_, days):
                written += len(chunk)
                arrow = max(arrow, pa.total_allocated_bytes())  # which tracemalloc does not see
            return tracemalloc.get_traced_memory()[1] + arrow, written
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("format_", [Format.CSV, Format.PARQUET], ids=str)
def test_ten_times_the_days_need_no_more_memory(engine: Engine, format_: Format) -> None:
    few, _ = peak_bytes(engine, format_, 2)
    many, written = peak_bytes(engine, format_, DAYS)
    assert many < 1.5 * few
    assert written > DAYS * 1_440 * 3

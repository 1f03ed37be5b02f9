"""Meters with some days of readings, for tests of closed days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import pack, unpack

from hub_factories import Reading, add_controller, add_meter, add_point, add_scans, add_site
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.readings.service import read_series
from protocol.quality import Quality
from protocol.registers import shortest_float32

NOW = datetime(2026, 2, 10, 12, tzinfo=UTC)
FIRST_DAY = datetime(2026, 1, 30, tzinfo=UTC)
"""Eleven days before NOW, and before a new month."""

Rows = list[tuple[int, float | None, int]]
"""Milliseconds since 1970, value, quality."""


@dataclass(frozen=True, slots=True)
class ReadMeter:
    """A meter, its points, and its layout of all of them."""

    meter_id: int
    point_ids: tuple[int, ...]


def add_read_meter(
    engine: Engine,
    rows: Sequence[Sequence[Reading]],
    *,
    slug: str = "heater",
    start: datetime = FIRST_DAY,
    step_s: float,
) -> ReadMeter:
    """Add a meter with as many points as a row has, and its scans; the site and controller are its own."""
    with Session(engine) as session, session.begin():
        meter = add_meter(session, add_controller(session, add_site(session, slug), slug), slug, period_s=step_s)
        points = [add_point(session, meter, f"p{place}") for place in range(len(rows[0]))]
        add_scans(session, meter, points, rows, start=start)
        return ReadMeter(meter.id, tuple(point.id for point in points))


def make_rows(count: int) -> list[list[Reading]]:
    """Make rows of four points, one for each form that a closed day may have; now and then one without a value."""
    missing: Reading = (None, Quality.TIMEOUT)
    return [
        [
            missing if n % 7 == 3 else 230 + n % 13 / 10,
            (100_000.001 + n * 97.5, Quality.COUNTER_REGRESSED if n % 11 == 5 else Quality.GOOD),
            float(shortest_float32(unpack("f", pack("f", n * 0.001234567))[0])) if n % 2 else 2_999.1235,
            n / 7,
        ]
        for n in range(count)
    ]


def series_of(engine: Engine, meter: ReadMeter, *, days: int = 30) -> list[Rows]:
    """Read all of each point."""
    with Session(engine) as session:
        found = [
            read_series(
                session, meter_id=meter.meter_id, point_id=point, start=FIRST_DAY, end=FIRST_DAY + timedelta(days=days)
            )
            for point in meter.point_ids
        ]
    return [
        [
            (at, None if value != value else value, code)  # noqa: PLR0124 - NaN alone is not itself
            for at, value, code in zip(
                one.observed_at_ms.tolist(), one.value.tolist(), one.quality.tolist(), strict=True
            )
        ]
        for one in found
    ]


def view_of(engine: Engine, meter: ReadMeter) -> list[Rows]:
    """Read all of each point from the view."""
    query = text(
        "SELECT (extract(epoch FROM observed_at) * 1000)::int8, value, quality FROM readings "
        "WHERE meter_id = :meter AND point_id = :point ORDER BY observed_at, value, quality"
    )
    with engine.connect() as connection:
        return [
            [tuple(row) for row in connection.execute(query, {"meter": meter.meter_id, "point": point})]
            for point in meter.point_ids
        ]


def count_rows(engine: Engine, table: str) -> int:
    """Count the rows of a table."""
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

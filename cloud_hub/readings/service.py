"""Readings out of the database: a point's course over time, and the newest of each point."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.errors import Invalid
from cloud_hub.readings.copy_rows import copy_rows
from cloud_hub.readings.series import Series
from protocol.quality import has_value

SCANS_MAX = 500_000
"""Scans that one request may read: a month each 5 s, a year each minute."""

# `values` holds a scan's values in the order of its layout's points; where this point stands in each layout
# is looked up once, so that a scan of any configuration the meter ever had gives its value.
_SERIES = """
SELECT scans.observed_at, coalesce(scans.values[place.i], 'NaN'), coalesce(scans.quality[place.i], 0)::int2
FROM scans
JOIN (
    SELECT id, array_position(point_ids, %(point_id)s::int8) AS i FROM layouts
    WHERE meter_id = %(meter_id)s AND point_ids @> ARRAY[%(point_id)s::int8]
) AS place ON place.id = scans.layout_id
WHERE scans.meter_id = %(meter_id)s AND scans.observed_at >= %(start)s AND scans.observed_at < %(end)s
ORDER BY scans.observed_at
LIMIT %(limit)s
"""
_COLUMNS = (("at", ">i8"), ("value", ">f8"), ("quality", ">i2"))

_EPOCH_2000_MS = 946_684_800_000
"""PostgreSQL counts timestamps in microseconds since 2000."""

_LATEST = text("""
SELECT point_id, meter_id, observed_at, value, quality FROM point_latest WHERE meter_id = ANY(:meter_ids)
""")


class TooManyReadings(Invalid):
    """A range of time with more readings than one request may ask for."""


@dataclass(frozen=True, slots=True)
class LatestReading:
    """The newest reading of a point: never an older one that happened to have a value."""

    point_id: int
    meter_id: int
    observed_at: datetime
    value: float | None
    quality: int


def read_series(session: Session, *, meter_id: int, point_id: int, start: datetime, end: datetime) -> Series:
    """Read all readings of a meter's point in `[start, end)`, oldest first.

    Raises: TooManyReadings.
    """
    parameters: dict[str, object] = {
        "meter_id": meter_id,
        "point_id": point_id,
        "start": start,
        "end": end,
        "limit": SCANS_MAX + 1,
    }
    rows = copy_rows(session, _SERIES, parameters, _COLUMNS)
    if len(rows) > SCANS_MAX:
        reached = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(rows["at"][-1]))
        raise TooManyReadings(
            f"the range holds more than {SCANS_MAX:,} readings: ask for less, for example until {reached:%Y-%m-%dT%H:%M:%SZ}"
        )
    return Series(
        rows["at"].astype(np.int64) // 1000 + _EPOCH_2000_MS,
        rows["value"].astype(np.float64),
        rows["quality"].astype(np.int16),
    )


def list_latest(session: Session, meter_ids: Collection[int]) -> list[LatestReading]:
    """List the newest reading of every point of these meters."""
    rows = session.execute(_LATEST, {"meter_ids": list(meter_ids)})
    return [
        LatestReading(
            row.point_id,
            row.meter_id,
            row.observed_at.astimezone(UTC),
            row.value if has_value(row.quality) else None,
            row.quality,
        )
        for row in rows
    ]

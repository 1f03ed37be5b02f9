"""Readings out of the database: a point's course over time, and the newest of each point."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import instant_of_ms, ms_of_instant
from cloud_hub.errors import Invalid
from cloud_hub.readings.gathering import AROUND, SERIES, cut_all, gather
from cloud_hub.readings.series import Series
from protocol.quality import has_value

SCANS_MAX = 550_000
"""Scans that one request may read: a month each 5 s, a year each minute."""

_ALMOST_A_MS = timedelta(microseconds=999)
_BEFORE_ALL_MS = 0
"""No reading is older than 1970: the protocol refuses it."""

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
        "first_day": start.astimezone(UTC).date(),
        "last_day": end.astimezone(UTC).date(),
        "limit": SCANS_MAX + 1,
    }
    found = gather(session.connection(), SERIES, parameters)
    # Readings stand on whole milliseconds, a range may begin and end between two.
    stretch = (point_id, ms_of_instant(start + _ALMOST_A_MS), ms_of_instant(end + _ALMOST_A_MS))
    series = cut_all(found, [stretch], beside=0)[point_id]
    if len(series) > SCANS_MAX:
        reached = instant_of_ms(int(series.observed_at_ms[SCANS_MAX]))
        raise TooManyReadings(
            f"the range holds more than {SCANS_MAX:,} readings: ask for less, for example until {reached:%Y-%m-%dT%H:%M:%SZ}"
        )
    return series


@dataclass(frozen=True, slots=True)
class Wanted:
    """Points of one meter, and a stretch of time `[start_ms, end_ms)` in UTC milliseconds since 1970."""

    meter_id: int
    point_ids: Sequence[int]
    start_ms: int
    end_ms: int


def read_around(session: Session, wanted: Sequence[Wanted], *, beside: int) -> dict[int, Series]:
    """Read the readings of many points, each in its stretch of time, and what stands beside it.

    Of each point come all readings in `[start_ms, end_ms)`, then on either side the `beside` nearest
    readings that carry a value, however far away they are; readings of one instant come together, so that there may be
    more. Rows of one point are ordered by time, then value, then quality, whatever order they arrived in.
    Every wanted point is in the answer, with an empty series where it has no reading. A point may be
    wanted once.
    """
    asked = [(one, point_id) for one in wanted for point_id in one.point_ids]
    if not asked:
        return {}
    parameters: dict[str, object] = {
        "meter_ids": [one.meter_id for one, _ in asked],
        "point_ids": [point_id for _, point_id in asked],
        "starts": [instant_of_ms(one.start_ms) for one, _ in asked],
        "ends": [instant_of_ms(one.end_ms) for one, _ in asked],
        "beside": beside,
    }
    found = gather(session.connection(), AROUND, parameters)
    return cut_all(found, [(point_id, one.start_ms, one.end_ms) for one, point_id in asked], beside=beside)


def first_reading(session: Session, point_ids: Collection[int]) -> dict[int, datetime]:
    """Return when each point was first read with a value; a point that never was is left out."""
    points = session.execute(text("SELECT meter_id, id FROM points WHERE id = ANY(:ids)"), {"ids": list(point_ids)})
    # What comes after a moment before all readings.
    wanted = [Wanted(meter_id, [point_id], _BEFORE_ALL_MS, _BEFORE_ALL_MS) for meter_id, point_id in points]
    found = read_around(session, wanted, beside=1)
    return {point_id: instant_of_ms(int(series.observed_at_ms[0])) for point_id, series in found.items() if len(series)}


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

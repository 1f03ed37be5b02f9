"""Raw readings on their way out, a stretch of time after the other."""

from collections.abc import Iterator, Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.readings.series import Series
from cloud_hub.readings.service import Wanted, read_around
from cloud_hub.transfer.blocks import Block, describe_place
from cloud_hub.transfer.selection import Chosen, Range, by_meter
from cloud_hub.transfer.windows import split_time
from protocol.quality import quality_name

_SPAN = text("""
SELECT least((SELECT min(observed_at) FROM scans WHERE meter_id = :meter),
             (SELECT min(day)::timestamp AT TIME ZONE 'UTC' FROM scan_days WHERE meter_id = :meter)),
       greatest((SELECT max(observed_at) FROM scans WHERE meter_id = :meter),
                (SELECT max(day + 1)::timestamp AT TIME ZONE 'UTC' FROM scan_days WHERE meter_id = :meter))
""")


def list_readings(session: Session, chosen: Sequence[Chosen], asked: Range) -> Iterator[Block]:
    """Read all readings of points; blocks come by meter, within it by time, within that by point."""
    for points in by_meter(chosen):
        for _, point, series in read_meter(session, points, asked.bounds_ms(points[0].zone)):
            names = [quality_name(code) for code in series.quality.tolist()]
            yield Block(
                len(series),
                point.zone,
                {
                    **describe_place(point),
                    "observed_at": series.observed_at_ms,
                    "local_time": series.observed_at_ms,
                    "value": series.value,
                    "quality": names,
                },
            )


def read_meter(
    session: Session, points: Sequence[Chosen], bounds_ms: tuple[int, int]
) -> Iterator[tuple[int, Chosen, Series]]:
    """Read points of one meter, a bounded stretch of time after the other; what is empty is left out.

    With each series comes the first instant of its stretch.
    """
    meter_id = points[0].meter_id
    start, end = _span(session, meter_id, bounds_ms)
    point_ids = [point.point_id for point in points]
    for first, until in split_time(start, end, points[0].period_s, len(points)):
        found = read_around(session, [Wanted(meter_id, point_ids, first, until)], beside=0)
        for point in points:
            series = found[point.point_id]
            if len(series):
                yield first, point, series


def _span(session: Session, meter_id: int, bounds_ms: tuple[int, int]) -> tuple[int, int]:
    """Return the part of the range in which the meter has any scans: nobody reads a century hour by hour."""
    first, last = session.execute(_SPAN, {"meter": meter_id}).one()
    if first is None:
        return 0, 0
    return max(bounds_ms[0], ms_of_instant(first)), min(bounds_ms[1], ms_of_instant(last) + 1)

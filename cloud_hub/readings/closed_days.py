"""Closed days into the database and back as whole tables: for compaction, and whoever puts archived days back."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from cloud_hub.calendar.days import date_of_number
from cloud_hub.readings.array_copy import (
    DATE,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    NULL,
    Float64s,
    Int64s,
    copy_in,
    copy_out,
    decode_value,
    decode_whole_numbers,
    encode_array,
    encode_value,
)
from cloud_hub.readings.gathering import DAY_MS, offsets_of_day, packed_of_fields
from cloud_hub.readings.packing import pack, unpack

Int16s = NDArray[np.int16]

_SCAN_DAYS = "scan_days (meter_id, day, layout_id, scans, first_ms, step_ms, offsets_ms)"
_POINT_DAYS = (
    "point_days (meter_id, point_id, base, divisor, day, layout_id, valued, int2s, int4s, float4s, float8s, quality)"
)

_LOCK = 0x636C6F73 << 32
"""Plus the id of a meter, which is never 0: any number that nobody else locks."""

_READ = """
SELECT d.layout_id, d.day, p.point_id, d.first_ms, d.step_ms, d.offsets_ms, d.scans, p.base, p.divisor,
       p.int2s, p.int4s, p.float4s, p.float8s, p.quality
FROM point_days p
JOIN scan_days d ON d.meter_id = p.meter_id AND d.day = p.day AND d.layout_id = p.layout_id
WHERE d.meter_id = %(meter_id)s AND d.layout_id = ANY(%(layout_ids)s)
  AND d.day = ANY(%(days)s) AND p.meter_id = %(meter_id)s AND p.day = ANY(%(days)s)
"""

_DELETE = """
DELETE FROM {table} USING unnest(CAST(:layout_ids AS int4[]), CAST(:days AS date[])) AS k (layout_id, day)
WHERE {table}.meter_id = :meter_id AND {table}.layout_id = k.layout_id AND {table}.day = k.day
  AND {table}.day BETWEEN :first_day AND :last_day
"""


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """All scans of one layout of a meter on one UTC day, ordered by time."""

    meter_id: int
    layout_id: int
    day: int
    """In days since 1970."""
    observed_at_ms: Int64s
    """UTC milliseconds since 1970."""
    values: Float64s
    """A row per scan, a column per point of the layout; NaN where the quality carries none."""
    quality: Int16s
    """Of the same shape."""

    def merged_with(self, later: "ClosedDay") -> "ClosedDay":
        """Add the scans of another; of one instant, ours come first."""
        at = np.concatenate((self.observed_at_ms, later.observed_at_ms))
        order = np.argsort(at, kind="stable")
        return ClosedDay(
            self.meter_id,
            self.layout_id,
            self.day,
            at[order],
            np.concatenate((self.values, later.values))[order],
            np.concatenate((self.quality, later.quality))[order],
        )


def hold_meter(connection: Connection, meter_id: int) -> bool:
    """Be the only one to change the closed days of a meter, until the transaction ends. False: another is."""
    query = text("SELECT pg_try_advisory_xact_lock_shared(:all), pg_try_advisory_xact_lock(:one)")
    return all(connection.execute(query, {"all": _LOCK, "one": _LOCK + meter_id}).one())


def hold_all_meters(connection: Connection) -> None:
    """Be the only one to change closed days, until the transaction ends; waits for those who are at it."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:all)"), {"all": _LOCK})


def read_days(
    connection: Connection, meter_id: int, keys: Collection[tuple[int, int]], point_ids: dict[int, list[int]]
) -> dict[tuple[int, int], ClosedDay]:
    """Read the closed days of a meter that `keys` name as (layout, day); `point_ids` orders each layout's points."""
    parameters: dict[str, object] = {
        "meter_id": meter_id,
        "layout_ids": sorted({layout_id for layout_id, _ in keys}),
        "days": [date_of_number(day) for day in sorted({day for _, day in keys})],
    }
    found: dict[tuple[int, int], ClosedDay] = {}
    for fields in copy_out(connection, _READ, parameters):
        layout_id, day, point_id = (
            decode_value(kind, field) for kind, field in zip((INT4, DATE, INT8), fields, strict=False)
        )
        places = point_ids[layout_id]
        known = found.get((layout_id, day))
        if known is None:
            at = day * DAY_MS + offsets_of_day(*fields[3:7])
            shape = (len(at), len(places))
            known = ClosedDay(meter_id, layout_id, day, at, np.full(shape, np.nan), np.zeros(shape, np.int16))
            found[layout_id, day] = known
        place = places.index(point_id)
        known.values[:, place] = unpack(packed_of_fields(*fields[7:13]), len(known.observed_at_ms))
        if fields[13] is not None:
            known.quality[:, place] = decode_whole_numbers(INT2, fields[13])
    return {key: day for key, day in found.items() if key in keys}


def delete_days(connection: Connection, meter_id: int, keys: Collection[tuple[int, int]]) -> None:
    """Take closed days of a meter out, named as (layout, day)."""
    days = [day for _, day in keys]
    parameters = {
        "meter_id": meter_id,
        "layout_ids": [layout_id for layout_id, _ in keys],
        "days": [date_of_number(day) for day in days],
        "first_day": date_of_number(min(days)),
        "last_day": date_of_number(max(days)),
    }
    for table in ("scan_days", "point_days"):
        connection.execute(text(_DELETE.format(table=table)), parameters)


def write_days(connection: Connection, days: Collection[ClosedDay], point_ids: dict[int, list[int]]) -> None:
    """Add closed days; their months' partitions must be there, and none of the days may be.

    `point_ids` are those of each layout, in the order of its columns.
    """
    copy_in(connection, _SCAN_DAYS, (_time_row(day) for day in days))
    copy_in(connection, _POINT_DAYS, (row for day in days for row in _point_rows(day, point_ids[day.layout_id])))


def _time_row(day: ClosedDay) -> Sequence[bytes]:
    offsets = day.observed_at_ms - day.day * DAY_MS
    steps = np.diff(offsets)
    is_even = len(offsets) > 1 and bool((steps == steps[0]).all())
    return (
        encode_value(INT8, day.meter_id),
        encode_value(DATE, day.day),
        encode_value(INT4, day.layout_id),
        encode_value(INT4, len(offsets)),
        encode_value(INT4, int(offsets[0])),
        encode_value(INT4, int(steps[0])) if is_even else NULL,
        NULL if is_even else encode_array(INT4, offsets),
    )


def _point_rows(day: ClosedDay, point_ids: list[int]) -> Iterator[Sequence[bytes]]:
    # A column at a time is what is asked of them below; as rows they lie in memory.
    values, quality = np.ascontiguousarray(day.values.T), np.ascontiguousarray(day.quality.T)
    for place, point_id in enumerate(point_ids):
        packed = pack(values[place])
        yield (
            encode_value(INT8, day.meter_id),
            encode_value(INT8, point_id),
            encode_value(INT8, packed.base),
            encode_value(INT8, packed.divisor),
            encode_value(DATE, day.day),
            encode_value(INT4, day.layout_id),
            encode_value(INT4, int(np.count_nonzero(~np.isnan(values[place])))),
            encode_array(INT2, packed.int2s),
            encode_array(INT4, packed.int4s),
            encode_array(FLOAT4, packed.float4s),
            encode_array(FLOAT8, packed.float8s),
            encode_array(INT2, quality[place]) if quality[place].any() else NULL,
        )

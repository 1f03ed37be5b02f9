"""Readings of points out of open and closed days, as one statement sees them.

One statement, because compaction moves scans from open to closed days: two would see some of them twice, or never.
A row holds arrays: of an open stretch as PostgreSQL aggregates them, of a closed day as they are stored.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from sqlalchemy import Connection

from cloud_hub.readings.array_copy import (
    DATE,
    FLOAT4,
    FLOAT8,
    INSTANT,
    INT2,
    INT4,
    INT8,
    Field,
    Int64s,
    copy_out,
    decode_floats,
    decode_value,
    decode_whole_numbers,
)
from cloud_hub.readings.packing import Packed, unpack
from cloud_hub.readings.series import Series

DAY_MS = 86_400_000

_OPEN = """
    NULL::date, NULL::int4, NULL::int4, NULL::int4[], NULL::int4, NULL::int8, NULL::int8,
    NULL::int2[], NULL::int4[], NULL::real[]
"""
"""What an open row has no use for; its values, qualities and instants follow."""

_CLOSED = """
    p.point_id, p.day, d.first_ms, d.step_ms, d.offsets_ms, d.scans, p.base, p.divisor,
    p.int2s, p.int4s, p.float4s, p.float8s, p.quality, NULL::timestamptz[]
"""

_PLACE = "w.places[array_position(w.layout_ids, s.layout_id)]"
"""Where the point stands in a scan, of whatever configuration the meter had then."""

_VALUED = f"""
    SELECT s.observed_at, s.values[{_PLACE}] AS value, coalesce(s.quality[{_PLACE}], 0)::int2 AS quality
    FROM scans s
    WHERE s.meter_id = w.meter_id AND s.layout_id = ANY(w.layout_ids) AND s.values[{_PLACE}] <> 'NaN'
"""  # noqa: S608 - all parts stand in this file

_ARRAYS = "array_agg(r.value) AS values, array_agg(r.quality) AS quality, array_agg(r.observed_at) AS instants"

_CLOSED_OF_POINT = """
    FROM point_days p
    JOIN scan_days d ON d.meter_id = p.meter_id AND d.day = p.day AND d.layout_id = p.layout_id
    WHERE p.meter_id = w.meter_id AND p.point_id = w.point_id
"""

# Closed days before the stretch are asked only where the open ones have too little, which is seldom.
AROUND = f"""
WITH wanted AS MATERIALIZED (
    SELECT w.meter_id, w.point_id, w.start_at, w.end_at,
           array_agg(l.id) AS layout_ids, array_agg(array_position(l.point_ids, w.point_id)) AS places,
           (w.start_at AT TIME ZONE 'UTC')::date AS first_day,
           (greatest(w.start_at, w.end_at - interval '1 millisecond') AT TIME ZONE 'UTC')::date AS last_day
    FROM unnest(%(meter_ids)s::int8[], %(point_ids)s::int8[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
         AS w (meter_id, point_id, start_at, end_at)
    JOIN layouts l ON l.meter_id = w.meter_id AND l.point_ids @> ARRAY[w.point_id]
    GROUP BY w.meter_id, w.point_id, w.start_at, w.end_at
)
SELECT found.*
FROM wanted w
CROSS JOIN LATERAL (
    SELECT {_ARRAYS} FROM (
        {_VALUED} AND s.observed_at < w.start_at ORDER BY s.observed_at DESC FETCH FIRST %(beside)s ROWS WITH TIES
    ) AS r
) AS before
CROSS JOIN LATERAL (
    SELECT {_ARRAYS} FROM (
        {_VALUED} AND s.observed_at >= w.end_at ORDER BY s.observed_at FETCH FIRST %(beside)s ROWS WITH TIES
    ) AS r
) AS after
CROSS JOIN LATERAL (
    SELECT w.point_id, {_OPEN}, before.values, before.quality, before.instants
    UNION ALL
    SELECT w.point_id, {_OPEN}, after.values, after.quality, after.instants
    UNION ALL
    SELECT w.point_id, {_OPEN}, {_ARRAYS} FROM (
        SELECT s.observed_at, coalesce(s.values[{_PLACE}], 'NaN') AS value,
               coalesce(s.quality[{_PLACE}], 0)::int2 AS quality
        FROM scans s
        WHERE s.meter_id = w.meter_id AND s.layout_id = ANY(w.layout_ids)
          AND s.observed_at >= w.start_at AND s.observed_at < w.end_at
    ) AS r
    UNION ALL
    SELECT {_CLOSED} {_CLOSED_OF_POINT} AND p.day BETWEEN w.first_day AND w.last_day
    UNION ALL (
        SELECT {_CLOSED} {_CLOSED_OF_POINT} AND p.valued > 0 AND p.day < w.first_day
          AND p.day >= coalesce((before.instants[%(beside)s] AT TIME ZONE 'UTC')::date, '-infinity')
        ORDER BY p.day DESC FETCH FIRST %(beside)s ROWS WITH TIES
    ) UNION ALL (
        SELECT {_CLOSED} {_CLOSED_OF_POINT} AND p.valued > 0 AND p.day > w.last_day
          AND p.day <= coalesce((after.instants[%(beside)s] AT TIME ZONE 'UTC')::date, 'infinity')
        ORDER BY p.day FETCH FIRST %(beside)s ROWS WITH TIES
    )
) AS found
"""  # noqa: S608 - all parts stand in this file; values are bound
"""Of each wanted point: a superset of what `cut` keeps. Parameters: meter_ids, point_ids, starts, ends, beside."""

SERIES = f"""
SELECT %(point_id)s::int8, {_OPEN}, {_ARRAYS} FROM (
    SELECT s.observed_at, coalesce(s.values[place.i], 'NaN') AS value, coalesce(s.quality[place.i], 0)::int2 AS quality
    FROM scans s
    JOIN (
        SELECT id, array_position(point_ids, %(point_id)s::int8) AS i FROM layouts
        WHERE meter_id = %(meter_id)s AND point_ids @> ARRAY[%(point_id)s::int8]
    ) AS place ON place.id = s.layout_id
    WHERE s.meter_id = %(meter_id)s AND s.observed_at >= %(start)s AND s.observed_at < %(end)s
    ORDER BY s.observed_at LIMIT %(limit)s
) AS r
UNION ALL
SELECT point_id, day, first_ms, step_ms, offsets_ms, scans, base, divisor,
       int2s, int4s, float4s, float8s, quality, NULL::timestamptz[]
FROM (
    SELECT p.*, d.first_ms, d.step_ms, d.offsets_ms, d.scans,
           coalesce(sum(d.scans) FILTER (WHERE p.day > %(first_day)s) OVER (
               ORDER BY p.day, p.layout_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS scans_before
    FROM point_days p
    JOIN scan_days d ON d.meter_id = p.meter_id AND d.day = p.day AND d.layout_id = p.layout_id
    WHERE p.meter_id = %(meter_id)s AND p.point_id = %(point_id)s AND p.day BETWEEN %(first_day)s AND %(last_day)s
      AND d.meter_id = %(meter_id)s AND d.day BETWEEN %(first_day)s AND %(last_day)s
) AS closed
WHERE scans_before < %(limit)s
"""  # noqa: S608 - all parts stand in this file; values are bound
"""One point's readings from `start` on, at least `limit` of them if the stretch to `end` has so many, with what else
the first and the last day hold. Parameters: meter_id, point_id, start, end, first_day, last_day, limit."""


def gather(connection: Connection, query: str, parameters: dict[str, object]) -> dict[int, Series]:
    """Run one of the statements above; return each point's readings, ordered by time, then value, then quality."""
    parts: defaultdict[int, list[Series]] = defaultdict(list)
    for fields in copy_out(connection, query, parameters):
        part = _open_part(fields) if fields[1] is None else _closed_part(fields)
        if len(part):
            parts[decode_value(INT8, fields[0])].append(part)
    return {point_id: _join(some) for point_id, some in parts.items()}


def offsets_of_day(first: Field, step: Field, offsets: Field, scans: Field) -> Int64s:
    """Return the milliseconds since midnight at which a closed day's scans were made."""
    if offsets is not None:
        return decode_whole_numbers(INT4, offsets)
    step_ms = 0 if step is None else decode_value(INT4, step)
    return decode_value(INT4, first) + step_ms * np.arange(decode_value(INT4, scans), dtype=np.int64)


def packed_of_fields(base: Field, divisor: Field, *forms: Field) -> Packed:
    """Read the stored forms: int2s, int4s, float4s, float8s."""
    int2s, int4s, float4s, float8s = forms
    return Packed(
        base=decode_value(INT8, base),
        divisor=decode_value(INT8, divisor),
        int2s=None if int2s is None else decode_whole_numbers(INT2, int2s).astype(np.int16),
        int4s=None if int4s is None else decode_whole_numbers(INT4, int4s).astype(np.int32),
        float4s=None if float4s is None else decode_floats(FLOAT4, float4s).astype(np.float32),
        float8s=None if float8s is None else decode_floats(FLOAT8, float8s),
    )


def cut(series: Series, *, start_ms: int, end_ms: int, beside: int) -> Series:
    """Keep what lies in `[start_ms, end_ms)` and on either side the `beside` nearest readings with a value.

    Where the farthest of those shares its instant with others, these stay as well.
    """
    first, end = np.searchsorted(series.observed_at_ms, (start_ms, max(start_ms, end_ms)))
    valued = ~np.isnan(series.value)
    before, after = np.flatnonzero(valued[:first]), end + np.flatnonzero(valued[end:])
    at = series.observed_at_ms
    if len(before) > beside:
        before = before[at[before] >= at[before[-beside]]] if beside else before[:0]
    if len(after) > beside:
        after = after[at[after] <= at[after[beside - 1]]] if beside else after[:0]
    return series.take(np.concatenate((before, np.arange(first, end), after)))


def cut_all(found: Mapping[int, Series], wanted: Iterable[tuple[int, int, int]], *, beside: int) -> dict[int, Series]:
    """Cut each point's readings to its own stretch; `wanted` are points with start and end."""
    nothing = Series(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int16))
    return {
        point_id: cut(found.get(point_id, nothing), start_ms=start_ms, end_ms=end_ms, beside=beside)
        for point_id, start_ms, end_ms in wanted
    }


def _open_part(fields: list[Field]) -> Series:
    values, quality, instants = fields[11:14]
    return Series(
        decode_whole_numbers(INSTANT, instants) // 1000,
        decode_floats(FLOAT8, values),
        decode_whole_numbers(INT2, quality).astype(np.int16),
    )


def _closed_part(fields: list[Field]) -> Series:
    day, first, step, offsets, scans = fields[1:6]
    at = decode_value(DATE, day) * DAY_MS + offsets_of_day(first, step, offsets, scans)
    quality = fields[12]
    codes = np.zeros(len(at), np.int64) if quality is None else decode_whole_numbers(INT2, quality)
    return Series(at, unpack(packed_of_fields(*fields[6:12]), len(at)), codes.astype(np.int16))


def _join(parts: list[Series]) -> Series:
    joined = Series(
        np.concatenate([part.observed_at_ms for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.quality for part in parts]),
    )
    if (np.diff(joined.observed_at_ms) > 0).all():
        return joined
    return joined.take(np.lexsort((joined.quality, joined.value, joined.observed_at_ms)))

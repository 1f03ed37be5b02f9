"""Closed days: scans older than a few days become one row per point and day, a quarter of the size.

A transaction takes a stretch of one meter's days out of `scans`, merges what is closed of them already, and writes
them. So a kill loses nothing and doubles nothing, whatever arrives meanwhile waits in `scans` for the next round, and
nobody waits for us: ingest only adds rows, and readers see the state before or the state after.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from cloud_hub.readings.array_copy import (
    FLOAT8,
    INSTANT,
    INT2,
    INT4,
    Field,
    copy_out,
    decode_floats,
    decode_value,
    decode_whole_numbers,
)
from cloud_hub.readings.closed_days import ClosedDay, delete_days, hold_meter, read_days, write_days
from cloud_hub.readings.gathering import DAY_MS
from cloud_hub.work.extensions import partitions_itself
from cloud_hub.work.partitions import (
    LATE_YEARS_MAX,
    OPEN,
    Month,
    list_partitions,
    lock_partitions,
    make_closed_partitions,
)

OPEN_DAYS = 2
"""So many whole UTC days before today stay open: what an agent holds back for a while costs no day twice."""

VALUES_AT_ONCE = 4_000_000
"""In one transaction: some 200 MB of memory, and months of a usual meter."""

_INDEX_BYTES_KEPT = 1 << 16
"""An empty partition's index is worth a lock only above this size."""

# One probe of the index per meter and partition. Scans of a meter that is not registered stay as they are.
_DUE = text("""
SELECT m.id, f.observed_at
FROM meters m
CROSS JOIN LATERAL (
    SELECT s.observed_at FROM scans s
    WHERE s.meter_id = m.id AND s.observed_at >= :earliest AND s.observed_at < :closed_before
    ORDER BY s.observed_at LIMIT 1
) AS f
ORDER BY m.id
""")

_FIRST = text("""
SELECT observed_at FROM scans
WHERE meter_id = :meter_id AND observed_at >= :since AND observed_at < :closed_before
ORDER BY observed_at OFFSET :skipped LIMIT 1
""")

# A scan that does not fit its layout stays where it is: nothing is thrown away for being odd.
_TAKE = """
WITH taken AS (
    DELETE FROM scans s USING layouts l
    WHERE s.meter_id = %(meter_id)s AND s.observed_at >= %(first)s AND s.observed_at < %(end)s
      AND l.id = s.layout_id AND l.meter_id = s.meter_id
      AND array_length(s.values, 1) = array_length(l.point_ids, 1)
      AND (s.quality IS NULL OR array_length(s.quality, 1) = array_length(l.point_ids, 1))
      AND array_position(s.values, NULL) IS NULL AND array_position(s.quality, NULL) IS NULL
    RETURNING s.observed_at, s.layout_id, s.values, s.quality
)
SELECT layout_id, array_agg(observed_at), array_agg(values), array_agg(quality) FILTER (WHERE quality IS NOT NULL)
FROM taken GROUP BY layout_id, quality IS NULL ORDER BY layout_id, quality IS NULL DESC
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a round has done."""

    scans: int = 0
    days: int = 0
    """Written, each counted per layout; some of them anew."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Whole days of one meter."""

    meter_id: int
    first: datetime
    end: datetime

    @property
    def months(self) -> set[Month]:
        """The months it touches."""
        return months_between(self.first, self.end)


def compact(engine: Engine, now: datetime, *, open_days: int = OPEN_DAYS) -> Compacted:
    """Close all days that are old enough, and give their space back. Any number of processes may do it at once.

    Returns what this one did. Raises: the database's error; what is done by then stays done.
    """
    closed_before = _midnight(now) - timedelta(days=open_days)
    earliest = now - timedelta(days=366 * LATE_YEARS_MAX)
    with engine.connect() as connection:
        if partitions_itself(connection, OPEN):
            return Compacted()
        due = connection.execute(_DUE, {"earliest": earliest, "closed_before": closed_before}).all()
    scans = days = 0
    months: set[Month] = set()
    for meter_id, first_at in due:
        for stretch in _stretches(engine, meter_id, first_at, closed_before):
            if stretch.months - months:
                make_closed_partitions(engine, stretch.months)
                months |= stretch.months
            closed = _close(engine, stretch)
            scans += sum(len(day.observed_at_ms) for day in closed)
            days += len(closed)
    if scans:
        log.info("days_compacted", scans=scans, days=days)
        _give_space_back(engine, months)
    return Compacted(scans, days)


def _stretches(engine: Engine, meter_id: int, first_at: datetime, closed_before: datetime) -> Iterator[_Stretch]:
    """Cut what is due of a meter into stretches of whole days, each with about as much as one transaction may hold."""
    with engine.connect() as connection:
        points = connection.scalar(
            text("SELECT max(cardinality(point_ids)) FROM layouts WHERE meter_id = :meter_id"), {"meter_id": meter_id}
        )
    scans_max = VALUES_AT_ONCE // max(1, points or 1)
    since = _midnight(first_at)
    while since < closed_before:
        with engine.connect() as connection:
            known = {"meter_id": meter_id, "since": since, "closed_before": closed_before}
            first = connection.scalar(_FIRST, {**known, "skipped": 0})
            beyond = connection.scalar(_FIRST, {**known, "skipped": scans_max})
        if first is None:
            return
        since = _midnight(first)
        end = closed_before if beyond is None else max(_midnight(beyond), since + timedelta(days=1))
        yield _Stretch(meter_id, since, end)
        since = end


def _close(engine: Engine, stretch: _Stretch) -> list[ClosedDay]:
    """Move a stretch from open to closed; nothing where another process is at this meter."""
    with engine.begin() as connection:
        if not hold_meter(connection, stretch.meter_id):
            return []
        layouts = connection.execute(
            text("SELECT id, point_ids FROM layouts WHERE meter_id = :meter_id"), {"meter_id": stretch.meter_id}
        )
        point_ids: dict[int, list[int]] = {layout_id: list(ids) for layout_id, ids in layouts}
        taken = _take(connection, stretch)
        if not taken:
            return []
        known = read_days(connection, stretch.meter_id, taken.keys(), point_ids)
        if known:
            delete_days(connection, stretch.meter_id, known.keys())
        merged = [known[key].merged_with(day) if key in known else day for key, day in taken.items()]
        write_days(connection, merged, point_ids)
    return list(taken.values())


def _take(connection: Connection, stretch: _Stretch) -> dict[tuple[int, int], ClosedDay]:
    """Take the scans of a stretch out of the open days; they are ordered by layout and day."""
    parameters: dict[str, object] = {"meter_id": stretch.meter_id, "first": stretch.first, "end": stretch.end}
    of_layout: defaultdict[int, list[ClosedDay]] = defaultdict(list)
    for fields in copy_out(connection, _TAKE, parameters):
        part = _part(stretch.meter_id, fields)
        of_layout[part.layout_id].append(part)
    days = (day for parts in of_layout.values() for day in _split(parts))
    return {(day.layout_id, day.day): day for day in days}


def _part(meter_id: int, fields: list[Field]) -> ClosedDay:
    layout_id, instants, values, quality = fields
    rows = decode_floats(FLOAT8, values)
    codes = np.zeros(rows.shape, np.int16)
    if quality is not None:
        codes = decode_whole_numbers(INT2, quality).astype(np.int16)
    at_ms = decode_whole_numbers(INSTANT, instants) // 1000
    return ClosedDay(meter_id, decode_value(INT4, layout_id), 0, at_ms, rows, codes)


def _split(parts: list[ClosedDay]) -> Iterator[ClosedDay]:
    """Put the scans of a layout in order and cut them into days."""
    at_ms = np.concatenate([part.observed_at_ms for part in parts])
    order = np.argsort(at_ms, kind="stable")
    at_ms = at_ms[order]
    values = np.concatenate([part.values for part in parts])[order]
    quality = np.concatenate([part.quality for part in parts])[order]
    days, starts = np.unique(at_ms // DAY_MS, return_index=True)
    for day, start, end in zip(days.tolist(), starts, np.append(starts[1:], len(at_ms)), strict=True):
        own = slice(start, end)
        yield ClosedDay(parts[0].meter_id, parts[0].layout_id, day, at_ms[own], values[own], quality[own])


def _give_space_back(engine: Engine, months: set[Month]) -> None:
    """Let the space of what was moved be used again; what is behind the last row goes back to the system."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        partitions = list_partitions(connection, OPEN)
        names = [partitions[month] for month in sorted(months) if month in partitions]
        for name in names:
            connection.execute(text(f"VACUUM {name}"))
    for name in names:
        _truncate_if_empty(engine, name)


def _truncate_if_empty(engine: Engine, name: str) -> None:
    """Free the index of a partition without rows: it does not shrink by itself."""
    with engine.connect() as connection:
        if not connection.scalar(text(f"SELECT {_IS_WORTH_IT}"), {"name": name, "kept": _INDEX_BYTES_KEPT}):
            return
    try:
        with engine.begin() as connection:
            lock_partitions(connection)
            connection.execute(text(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))
            # No page: whoever still needs an old row has kept VACUUM from taking its page away.
            if connection.scalar(text(f"SELECT {_IS_WORTH_IT}"), {"name": name, "kept": _INDEX_BYTES_KEPT}):
                connection.execute(text(f"TRUNCATE {name}"))
    except OperationalError:  # somebody was busy with it for longer than we may make others wait
        log.info("partition_not_truncated", partition=name)


_IS_WORTH_IT = "pg_relation_size(CAST(:name AS regclass)) = 0 AND pg_indexes_size(CAST(:name AS regclass)) > :kept"


def months_between(first: datetime, end: datetime) -> set[Month]:
    """Return the months that `[first, end)` touches."""
    month, months = Month.of(first), set()
    while month.start < end:
        months.add(month)
        month = month.plus(1)
    return months


def _midnight(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

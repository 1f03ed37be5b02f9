"""The ledger's versions: read what is known of intervals, now or as it was known at any instant."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.energy.model import Int16s, Int32s, Int64s
from cloud_hub.ledger.day_rows import DayRows, DaySpan, is_expected, load_days
from cloud_hub.readings.array_copy import INSTANT, INT2, INT4, INT8, copy_out, decode_value, decode_whole_numbers

# What was known at an instant and has been replaced since. The local day is that of the range asked for:
# its begin is looked up where a day row tells it, so that no time zone is needed here.
_SUPERSEDED = """
    SELECT s.point_id,
           array_agg(s.start_at ORDER BY s.start_at), array_agg(s.end_at ORDER BY s.start_at),
           array_agg(((s.start_at AT TIME ZONE t.time_zone)::date - date '1970-01-01') ORDER BY s.start_at),
           array_agg(s.amount_micro ORDER BY s.start_at), array_agg(s.registered_micro ORDER BY s.start_at),
           array_agg(s.quality ORDER BY s.start_at), array_agg(s.completeness ORDER BY s.start_at),
           array_agg(s.causes ORDER BY s.start_at), array_agg(s.method ORDER BY s.start_at),
           array_agg(s.calculation ORDER BY s.start_at), array_agg(s.known_from ORDER BY s.start_at)
    FROM ledger_superseded s
    JOIN points p ON p.id = s.point_id
    JOIN meters m ON m.id = p.meter_id
    JOIN sites t ON t.id = m.site_id
    WHERE s.point_id = ANY(%(points)s::bigint[])
      AND s.start_at >= (%(first)s::date::timestamp AT TIME ZONE t.time_zone)
      AND s.start_at < ((%(last)s::date + 1)::timestamp AT TIME ZONE t.time_zone)
      AND s.known_from <= %(known)s AND s.known_until > %(known)s
    GROUP BY s.point_id
"""


@dataclass(frozen=True, slots=True)
class LedgerColumns:
    """What is known of a register's intervals: equally long columns, oldest first.

    Intervals that are not expected (before the register's first reading, or not over yet) are left out.
    """

    start_ms: Int64s
    """UTC milliseconds since 1970."""
    end_ms: Int64s
    day: Int32s
    """The site's local date, as days since 1970."""
    amounts_micro: Int64s
    """Millionths of the register's unit; 0 where the quality is missing."""
    registered_micro: Int64s
    """What the register alone says, before validation, estimation and editing."""
    qualities: Int16s
    """Codes of `cloud_hub.energy.model.IntervalQuality`."""
    completenesses: Int16s
    """In thousandths."""
    causes: Int32s
    methods: Int16s
    calculations: Int16s
    known_us: Int64s
    """Since when this has been known, in UTC microseconds since 1970."""

    def __len__(self) -> int:
        return len(self.start_ms)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "LedgerColumns":
        """Return the chosen rows, by a mask or by their places."""
        return LedgerColumns(*(getattr(self, name)[chosen] for name in _FIELDS))


_FIELDS = tuple(LedgerColumns.__dataclass_fields__)
_TYPES = (np.int64, np.int64, np.int32, np.int64, np.int64, np.int16, np.int16, np.int32, np.int16, np.int16, np.int64)


def read_ledger(
    session: Session,
    point_ids: Collection[int],
    first_day: date,
    last_day: date,
    as_known_at: datetime | None = None,
) -> dict[int, LedgerColumns]:
    """Read the intervals of registers in the local days from `first_day` to `last_day`, both included.

    With `as_known_at`, answers what was known at that instant. Every register asked for is in the answer, with
    empty columns when nothing is known of it.
    """
    connection = session.connection()
    wanted = sorted(set(point_ids))
    current = load_days(connection, [DaySpan(point_id, first_day, last_day) for point_id in wanted])
    answer = {point_id: _flatten(current[point_id]) if point_id in current else NOTHING for point_id in wanted}
    if as_known_at is None:
        return answer
    known_us = ms_of_instant(as_known_at) * 1000 + as_known_at.microsecond % 1000
    older = _load_superseded(connection, wanted, first_day, last_day, as_known_at)
    for point_id, columns in answer.items():
        known = columns.take(columns.known_us <= known_us)
        answer[point_id] = _unite(known, older[point_id]) if point_id in older else known
    return answer


def _flatten(rows: DayRows) -> LedgerColumns:
    start_us, end_us = rows.interval_bounds_us
    columns = LedgerColumns(
        start_us // 1000,
        end_us // 1000,
        np.repeat(rows.day, rows.sizes).astype(np.int32),
        rows.amounts_micro,
        rows.registered_micro,
        rows.qualities,
        rows.completenesses,
        rows.causes,
        rows.methods,
        np.repeat(rows.calculation, rows.sizes).astype(np.int16),
        rows.known_us,
    )
    expected = is_expected(rows)
    return columns if expected.all() else columns.take(expected)


def _load_superseded(
    connection: Connection, point_ids: list[int], first: date, last: date, known: datetime
) -> dict[int, LedgerColumns]:
    parameters: dict[str, object] = {"points": point_ids, "first": first, "last": last, "known": known}
    kinds = (INSTANT, INSTANT, INT4, INT8, INT8, INT2, INT2, INT4, INT2, INT2, INSTANT)
    found = {}
    for fields in copy_out(connection, _SUPERSEDED, parameters):
        columns = [decode_whole_numbers(kind, field) for kind, field in zip(kinds, fields[1:], strict=True)]
        columns[0], columns[1] = columns[0] // 1000, columns[1] // 1000
        found[decode_value(INT8, fields[0])] = _typed(columns)
    return found


def _typed(columns: list[NDArray[np.int64]]) -> LedgerColumns:
    return LedgerColumns(*(column.astype(kind) for column, kind in zip(columns, _TYPES, strict=True)))


def _unite(some: LedgerColumns, others: LedgerColumns) -> LedgerColumns:
    both = LedgerColumns(*(np.concatenate((getattr(some, name), getattr(others, name))) for name in _FIELDS))
    return both.take(np.argsort(both.start_ms, kind="stable"))


NOTHING = _typed([np.zeros(0, np.int64) for _ in _FIELDS])
"""The columns of a register of which nothing is known."""

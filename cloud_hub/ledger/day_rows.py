"""Rows of `ledger_days` in bulk, as columns of numpy: many days of many registers with one COPY each way."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from cloud_hub.calendar.days import day_number
from cloud_hub.energy.model import Int16s, Int32s, Int64s, IntervalQuality
from cloud_hub.readings.array_copy import (
    DATE,
    INSTANT,
    INT2,
    INT4,
    INT8,
    NULL,
    ElementType,
    copy_in,
    copy_out,
    decode_arrays,
    decode_value,
    decode_whole_numbers,
    encode_array,
    encode_value,
)

# One row per register: its days one after the other, sorted once, before they are put together. A null array of a day
# stands for zeros (`causes`, `methods`) or for the amounts (`registered_micro`) and is left out; which days have one is
# told beside.
_DAYS = """
    SELECT d.point_id, array_agg(d.day), array_agg(d.start_at),
           array_agg(d.end_at), array_agg(d.interval_s),
           array_agg(d.calculation), array_agg(cardinality(d.qualities)),
           string_agg(array_send(d.amounts_micro), ''),
           array_agg((d.registered_micro IS NOT NULL)::int),
           string_agg(array_send(d.registered_micro), ''),
           string_agg(array_send(d.qualities), ''),
           string_agg(array_send(d.completenesses), ''),
           array_agg((d.causes IS NOT NULL)::int),
           string_agg(array_send(d.causes), ''),
           array_agg((d.methods IS NOT NULL)::int),
           string_agg(array_send(d.methods), ''),
           string_agg(array_send(d.known_at), '')
    FROM (
        SELECT d.* FROM unnest(%(points)s::bigint[], %(firsts)s::int[], %(lasts)s::int[]) AS w (point_id, first, last)
        JOIN ledger_days d ON d.point_id = w.point_id
                          AND d.day BETWEEN date '1970-01-01' + w.first AND date '1970-01-01' + w.last
        ORDER BY d.point_id, d.day
    ) AS d
    GROUP BY d.point_id
"""

_COLUMNS = (
    "start_at, end_at, point_id, total_micro, day, interval_s, calculation, completeness, "
    "amounts_micro, registered_micro, qualities, completenesses, causes, methods, known_at"
)
_MAKE_INCOMING = text("CREATE TEMPORARY TABLE IF NOT EXISTS incoming_days (LIKE ledger_days) ON COMMIT DELETE ROWS")
_EMPTY_INCOMING = text("DELETE FROM incoming_days")
_UPSERT = text(f"""
    INSERT INTO ledger_days ({_COLUMNS})
    SELECT {_COLUMNS} FROM incoming_days ORDER BY point_id, day
    ON CONFLICT (point_id, day) DO UPDATE
    SET start_at = excluded.start_at, end_at = excluded.end_at, total_micro = excluded.total_micro,
        interval_s = excluded.interval_s, calculation = excluded.calculation, completeness = excluded.completeness,
        amounts_micro = excluded.amounts_micro, registered_micro = excluded.registered_micro,
        qualities = excluded.qualities, completenesses = excluded.completenesses,
        causes = excluded.causes, methods = excluded.methods, known_at = excluded.known_at
""")  # noqa: S608 - constants of ours
_DELETE = text("""
    DELETE FROM ledger_days d
    USING unnest(CAST(:points AS bigint[]), CAST(:days AS integer[])) AS w (point_id, day)
    WHERE d.point_id = w.point_id AND d.day = date '1970-01-01' + w.day
""")


class DaySpan(NamedTuple):
    """Days of one register, both included."""

    point_id: int
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class DayRows:
    """Successive days of one register. The first group of columns has an entry per day, the second one per interval."""

    day: Int64s
    """Days since 1970."""
    start_us: Int64s
    """UTC microseconds since 1970, as in all that end in `_us`."""
    end_us: Int64s
    interval_s: Int64s
    calculation: Int64s
    sizes: Int64s
    """How many intervals each day has."""

    amounts_micro: Int64s
    registered_micro: Int64s
    qualities: Int16s
    completenesses: Int16s
    causes: Int32s
    methods: Int16s
    known_us: Int64s

    def __len__(self) -> int:
        return len(self.day)

    @property
    def offsets(self) -> Int64s:
        """Where each day's intervals begin, and where the last day's end."""
        return np.concatenate(([0], np.cumsum(self.sizes))).astype(np.int64)

    @property
    def interval_bounds_us(self) -> tuple[Int64s, Int64s]:
        """Begin and end of every interval; a day's last one ends with the day."""
        place = np.arange(len(self.qualities)) - np.repeat(self.offsets[:-1], self.sizes)
        step = np.repeat(self.interval_s * 1_000_000, self.sizes)
        start = np.repeat(self.start_us, self.sizes) + place * step
        return start, np.minimum(start + step, np.repeat(self.end_us, self.sizes))


def load_days(connection: Connection, spans: Sequence[DaySpan]) -> dict[int, DayRows]:
    """Read the days of registers; each register at most once. One without any day is left out."""
    parameters: dict[str, object] = {
        "points": [span.point_id for span in spans],
        "firsts": [day_number(span.first) for span in spans],
        "lasts": [day_number(span.last) for span in spans],
    }
    return {decode_value(INT8, fields[0]): _decode(fields[1:]) for fields in copy_out(connection, _DAYS, parameters)}


def _decode(fields: Sequence[memoryview | None]) -> DayRows:
    sizes = decode_whole_numbers(INT4, fields[5])
    amounts = decode_arrays(INT8, fields[6], sizes)
    return DayRows(
        day=decode_whole_numbers(DATE, fields[0]),
        start_us=decode_whole_numbers(INSTANT, fields[1]),
        end_us=decode_whole_numbers(INSTANT, fields[2]),
        interval_s=decode_whole_numbers(INT4, fields[3]),
        calculation=decode_whole_numbers(INT2, fields[4]),
        sizes=sizes,
        amounts_micro=amounts,
        registered_micro=_fill(amounts, sizes, decode_whole_numbers(INT4, fields[7]), fields[8], INT8),
        qualities=decode_arrays(INT2, fields[9], sizes).astype(np.int16),
        completenesses=decode_arrays(INT2, fields[10], sizes).astype(np.int16),
        causes=_fill(np.zeros_like(amounts), sizes, decode_whole_numbers(INT4, fields[11]), fields[12], INT4).astype(
            np.int32
        ),
        methods=_fill(np.zeros_like(amounts), sizes, decode_whole_numbers(INT4, fields[13]), fields[14], INT2).astype(
            np.int16
        ),
        known_us=decode_arrays(INSTANT, fields[15], sizes),
    )


def _fill(usual: Int64s, sizes: Int64s, is_there: Int64s, field: memoryview | None, kind: ElementType) -> Int64s:
    """Put the arrays of the days that have one over what stands for a null."""
    if not is_there.any():
        return usual
    filled = usual.copy()
    there = is_there.astype(np.bool_)
    filled[np.repeat(there, sizes)] = decode_arrays(kind, field, sizes[there])
    return filled


def write_days(connection: Connection, days: Iterable[tuple[int, DayRows]]) -> None:
    """Write whole days in place of what was there, in one COPY and one statement."""
    connection.execute(_MAKE_INCOMING)
    connection.execute(_EMPTY_INCOMING)
    rows = (fields for point_id, some in days for fields in _encode(point_id, some))
    copy_in(connection, f"incoming_days ({_COLUMNS})", rows)
    connection.execute(_UPSERT)


def delete_days(connection: Connection, days: Sequence[tuple[int, int]]) -> None:
    """Delete rows by register and day number."""
    if days:
        points, numbers = zip(*days, strict=True)
        connection.execute(_DELETE, {"points": list(points), "days": list(numbers)})


def _encode(point_id: int, rows: DayRows) -> Iterator[tuple[bytes, ...]]:
    offsets = rows.offsets
    for n in range(len(rows)):
        part = slice(int(offsets[n]), int(offsets[n + 1]))
        start_us, end_us = int(rows.start_us[n]), int(rows.end_us[n])
        amounts, registered = rows.amounts_micro[part], rows.registered_micro[part]
        causes, methods = rows.causes[part], rows.methods[part]
        yield (
            encode_value(INSTANT, start_us),
            encode_value(INSTANT, end_us),
            encode_value(INT8, point_id),
            encode_value(INT8, int(amounts.sum())),
            encode_value(DATE, int(rows.day[n])),
            encode_value(INT4, int(rows.interval_s[n])),
            encode_value(INT2, int(rows.calculation[n])),
            encode_value(INT2, day_completeness(rows, n)),
            encode_array(INT8, amounts),
            NULL if np.array_equal(amounts, registered) else encode_array(INT8, registered),
            encode_array(INT2, rows.qualities[part]),
            encode_array(INT2, rows.completenesses[part]),
            encode_array(INT4, causes) if causes.any() else NULL,
            encode_array(INT2, methods) if methods.any() else NULL,
            encode_array(INSTANT, rows.known_us[part]),
        )


def day_completeness(rows: DayRows, n: int) -> int:
    """Return how much of a day's time its intervals cover, in thousandths, rounded down: 1000 is all of it."""
    part = slice(int(rows.offsets[n]), int(rows.offsets[n + 1]))
    step = int(rows.interval_s[n]) * 1_000_000
    length = int(rows.end_us[n] - rows.start_us[n])
    completenesses = rows.completenesses[part].astype(np.int64)
    last = length - step * (len(completenesses) - 1)
    covered = int(completenesses[:-1].sum()) * step + int(completenesses[-1]) * last
    return covered // length


def empty_days() -> DayRows:
    """Return no day at all."""
    none = np.zeros(0, np.int64)
    return DayRows(
        none, none, none, none, none, none, none, none,
        none.astype(np.int16), none.astype(np.int16), none.astype(np.int32), none.astype(np.int16), none,
    )  # fmt: skip


def is_expected(rows: DayRows) -> NDArray[np.bool_]:
    """Say of each interval whether it is one that the ledger speaks of."""
    return np.not_equal(rows.qualities, IntervalQuality.ABSENT)

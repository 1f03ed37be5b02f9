"""Write what is known now, and keep what was known before: only what differs is written at all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from cloud_hub.calendar.days import date_of_number
from cloud_hub.energy.model import Int64s, IntervalQuality
from cloud_hub.energy.reference import is_typical
from cloud_hub.ledger.day_rows import DayRows, delete_days, empty_days, write_days
from cloud_hub.readings.array_copy import copy_in_encoded

_CONTENT = ("amounts_micro", "registered_micro", "qualities", "completenesses", "causes", "methods")

_SUPERSEDED = (
    ("start_at", 8),
    ("end_at", 8),
    ("point_id", 8),
    ("amount_micro", 8),
    ("registered_micro", 8),
    ("known_from", 8),
    ("known_until", 8),
    ("causes", 4),
    ("quality", 2),
    ("completeness", 2),
    ("method", 2),
    ("calculation", 2),
)
_POSTGRES_EPOCH_US = 946_684_800_000_000

_NO_DAYS = np.zeros(0, np.int64)

# An interval that is estimated or edited has a cause or a method: the other days need not be looked into.
_MONTHS = text("""
    WITH wanted AS (
        SELECT point_id, month FROM unnest(CAST(:points AS bigint[]), CAST(:months AS date[])) AS w (point_id, month)
    ), sums AS (
        SELECT w.point_id, w.month, sum(d.total_micro)::bigint AS total_micro,
               sum(CASE WHEN d.causes IS NULL AND d.methods IS NULL THEN 0 ELSE
                   (SELECT coalesce(sum(u.amount), 0) FROM unnest(d.amounts_micro, d.qualities) AS u (amount, quality)
                    WHERE u.quality = 1) END)::bigint AS estimated_micro,
               sum(CASE WHEN d.methods IS NULL THEN 0 ELSE
                   (SELECT coalesce(sum(u.amount), 0) FROM unnest(d.amounts_micro, d.qualities) AS u (amount, quality)
                    WHERE u.quality = 2) END)::bigint AS edited_micro,
               floor(sum(d.completeness * extract(epoch FROM d.end_at - d.start_at))
                     / sum(extract(epoch FROM d.end_at - d.start_at)))::smallint AS completeness,
               count(*)::integer AS days
        FROM wanted w
        JOIN ledger_days d ON d.point_id = w.point_id AND d.day >= w.month AND d.day < (w.month + interval '1 month')
        GROUP BY w.point_id, w.month
    ), emptied AS (
        DELETE FROM ledger_months m USING wanted w
        WHERE m.point_id = w.point_id AND m.month = w.month
          AND NOT EXISTS (SELECT FROM sums s WHERE s.point_id = w.point_id AND s.month = w.month)
    )
    INSERT INTO ledger_months AS known
           (point_id, month, total_micro, estimated_micro, edited_micro, completeness, days)
    SELECT point_id, month, total_micro, estimated_micro, edited_micro, completeness, days
    FROM sums ORDER BY point_id, month
    ON CONFLICT (point_id, month) DO UPDATE
    SET total_micro = excluded.total_micro, estimated_micro = excluded.estimated_micro,
        edited_micro = excluded.edited_micro, completeness = excluded.completeness, days = excluded.days
""")


@dataclass(frozen=True, slots=True)
class Written:
    """What a register's new rows changed."""

    point_id: int
    intervals: int
    """That are known otherwise than before, or for the first time."""
    reference_days: Int64s
    """Days whose measured amounts are others than before: estimates of later days may build on them."""


@dataclass(frozen=True, slots=True)
class _Difference:
    point_id: int
    rows: DayRows
    """Whole days with a changed interval, to be written."""
    emptied: Int64s
    """Days of which nothing is known any more."""
    superseded: bytes
    """Rows of COPY."""
    written: Written


def write_versions(connection: Connection, pairs: Sequence[tuple[int, DayRows, DayRows]], now_us: int) -> list[Written]:
    """Put new days of registers in place of the old ones, and those into the history.

    `pairs` name a register, its new days, and its old ones: every row that there is of the new days; what is there
    beside is to go. `now_us` is the instant since which this is known. Months follow.
    """
    compared = [_compare(point_id, new, old, now_us) for point_id, new, old in pairs]
    changed = [one for one in compared if one.written.intervals]
    if changed:
        if any(one.superseded for one in changed):
            columns = ", ".join(name for name, _ in _SUPERSEDED)
            copy_in_encoded(connection, f"ledger_superseded ({columns})", (one.superseded for one in changed))
        write_days(connection, [(one.point_id, one.rows) for one in changed])
        delete_days(connection, [(one.point_id, int(day)) for one in changed for day in one.emptied])
        sum_months(
            connection,
            ((one.point_id, int(day)) for one in changed for day in (*one.rows.day.tolist(), *one.emptied.tolist())),
        )
    return [one.written for one in compared]


def sum_months(connection: Connection, days: Iterable[tuple[int, int]]) -> None:
    """Add up the months that these days of registers lie in."""
    months = sorted({(point_id, date_of_number(day).replace(day=1)) for point_id, day in days})
    if months:
        points, firsts = zip(*months, strict=True)
        connection.execute(_MONTHS, {"points": list(points), "months": list(firsts)})


def _compare(point_id: int, new: DayRows, old: DayRows, now_us: int) -> _Difference:
    before, strays = align(new, old)
    differs = differences(new, before)
    places = np.flatnonzero(differs)
    if not len(places) and not len(strays):
        return _Difference(point_id, empty_days(), _NO_DAYS, b"", Written(point_id, 0, _NO_DAYS))
    # The history has an order, even should the server's clock be set back.
    now_us = max(now_us, int(old.known_us.max()) + 1) if len(old.known_us) else now_us
    known = np.where(differs | (before.known_us == 0), now_us, before.known_us)
    superseded = _history(point_id, before, differs & (before.qualities != IntervalQuality.ABSENT), now_us)
    superseded += _history(point_id, strays, strays.qualities != IntervalQuality.ABSENT, now_us)
    offsets = new.offsets
    days_of_places = np.searchsorted(offsets, places, side="right") - 1
    changed = sorted(set(days_of_places.tolist()))
    is_empty = {n: bool((new.qualities[offsets[n] : offsets[n + 1]] == IntervalQuality.ABSENT).all()) for n in changed}
    gone = {int(new.day[n]) for n in changed if is_empty[n]} | (set(strays.day.tolist()) - set(new.day.tolist()))
    kept = np.array([n for n in changed if not is_empty[n]], np.int64)
    written = Written(
        point_id,
        len(places) + len(strays.qualities),
        np.unique(new.day[days_of_places[_matters(new, before, places)]]),
    )
    chosen = take_days(replace(new, known_us=known), kept)
    return _Difference(point_id, chosen, np.array(sorted(gone), np.int64), superseded, written)


def _matters(new: DayRows, before: DayRows, places: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Say of changed intervals whether later days may have been estimated from what they were."""
    was_typical = is_typical(before.qualities[places], before.causes[places])
    typical = is_typical(new.qualities[places], new.causes[places])
    is_other = new.amounts_micro[places] != before.amounts_micro[places]
    matters: NDArray[np.bool_] = (was_typical != typical) | (typical & is_other)
    return matters


def differences(some: DayRows, others: DayRows) -> NDArray[np.bool_]:
    """Say of each interval whether two sets of rows that are laid out alike say otherwise of it."""
    differs = np.zeros(len(some.qualities), np.bool_)
    for name in _CONTENT:
        differs |= getattr(some, name) != getattr(others, name)
    return differs


def align(new: DayRows, old: DayRows) -> tuple[DayRows, DayRows]:
    """Lay the old rows out as the new ones are; also return those that fit nowhere."""
    if len(new) == len(old) and all(
        np.array_equal(getattr(new, name), getattr(old, name)) for name in ("day", "start_us", "sizes", "interval_s")
    ):
        return old, empty_days()
    absent = np.full(len(new.qualities), IntervalQuality.ABSENT, np.int16)
    columns = {name: np.zeros_like(getattr(new, name)) for name in (*_CONTENT, "known_us")} | {"qualities": absent}
    calculation = np.zeros_like(new.calculation)
    place = {int(day): n for n, day in enumerate(new.day)}
    new_offsets, old_offsets = new.offsets, old.offsets
    strays = []
    for n in range(len(old)):
        at = place.get(int(old.day[n]))
        if at is None or not _is_alike(new, at, old, n):
            strays.append(n)
            continue
        calculation[at] = old.calculation[n]
        source, target = slice(old_offsets[n], old_offsets[n + 1]), slice(new_offsets[at], new_offsets[at + 1])
        for name, column in columns.items():
            column[target] = getattr(old, name)[source]
    return replace(new, calculation=calculation, **columns), take_days(old, np.array(strays, np.int64))


def _is_alike(new: DayRows, at: int, old: DayRows, n: int) -> bool:
    names = ("start_us", "end_us", "interval_s", "sizes")
    return all(getattr(new, name)[at] == getattr(old, name)[n] for name in names)


def _history(point_id: int, rows: DayRows, chosen: NDArray[np.bool_], until_us: int) -> bytes:
    fields = [("count", ">i2")]
    for name, size in _SUPERSEDED:
        fields += [(f"{name}_bytes", ">i4"), (name, f">i{size}")]
    if not chosen.any():
        return b""
    records = np.zeros(int(chosen.sum()), np.dtype(fields))
    records["count"] = len(_SUPERSEDED)
    for name, size in _SUPERSEDED:
        records[f"{name}_bytes"] = size
    start_us, end_us = rows.interval_bounds_us
    columns = {
        "start_at": start_us[chosen] - _POSTGRES_EPOCH_US,
        "end_at": end_us[chosen] - _POSTGRES_EPOCH_US,
        "point_id": point_id,
        "amount_micro": rows.amounts_micro[chosen],
        "registered_micro": rows.registered_micro[chosen],
        "known_from": rows.known_us[chosen] - _POSTGRES_EPOCH_US,
        "known_until": until_us - _POSTGRES_EPOCH_US,
        "causes": rows.causes[chosen],
        "quality": rows.qualities[chosen],
        "completeness": rows.completenesses[chosen],
        "method": rows.methods[chosen],
        "calculation": np.repeat(rows.calculation, rows.sizes)[chosen],
    }
    for name, column in columns.items():
        records[name] = column
    return records.tobytes()


def take_days(rows: DayRows, days: NDArray[np.int64]) -> DayRows:
    """Return some of the days, by their places in order."""
    is_taken = np.zeros(len(rows), np.bool_)
    is_taken[days] = True
    if is_taken.all():
        return rows
    intervals = np.repeat(is_taken, rows.sizes)
    per_day = ("day", "start_us", "end_us", "interval_s", "calculation", "sizes")
    return DayRows(
        *(getattr(rows, name)[is_taken if name in per_day else intervals] for name in DayRows.__dataclass_fields__)
    )

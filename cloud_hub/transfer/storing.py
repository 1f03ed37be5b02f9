"""Readings that arrived otherwise than from an agent, as ordinary scans. Callers commit.

Such readings have no stream whose numbers say what is new, so they are compared with what is stored. An advisory lock
per meter keeps two imports from storing the same twice; ingest does not take it and need not wait.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from cloud_hub.ingest.copy_binary import ScanRows
from cloud_hub.ingest.decode import ScanColumns
from cloud_hub.ingest.scan_rows import copy_scans, update_latest
from cloud_hub.ledger.dirty import ScanSpan, mark_scans
from cloud_hub.readings.series import Series
from cloud_hub.readings.service import Wanted, read_around
from cloud_hub.registry.models import Controller, Meter, StoredLayout
from cloud_hub.transfer.windows import split_time

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('import ' || :meter, 0))")
_FORGET_NEWEST = text("DROP TABLE IF EXISTS pg_temp.newest_scans")
_LAYOUTS_MAX = 32
"""Rows of a meter that hold other points than their neighbours take a layout each; beyond, each point takes its own."""
_ROWS_AT_ONCE = 20_000

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PointReadings:
    """Readings of one point; equally long columns, ordered by time, no instant twice."""

    point_id: int
    observed_at_ms: Int64s
    value: NDArray[np.float64]
    quality: NDArray[np.int16]

    def take(self, wanted: NDArray[np.bool_]) -> "PointReadings":
        """Return some of them."""
        return PointReadings(self.point_id, self.observed_at_ms[wanted], self.value[wanted], self.quality[wanted])


def lock_meters(session: Session, meter_ids: Sequence[int]) -> None:
    """Let no other import touch these meters until the transaction ends."""
    for meter_id in sorted(set(meter_ids)):  # in order, so that two imports cannot wait for each other
        session.execute(_LOCK, {"meter": meter_id})


def read_present(session: Session, meter: Meter, readings: Sequence[PointReadings]) -> dict[int, Series]:
    """Read what the database has of these points, from their first to their last instant here."""
    with_any = [one for one in readings if len(one.observed_at_ms)]
    if not with_any:
        return {}
    first = min(int(one.observed_at_ms[0]) for one in with_any)
    last = max(int(one.observed_at_ms[-1]) for one in with_any)
    points = [one.point_id for one in with_any]
    parts: defaultdict[int, list[Series]] = defaultdict(list)
    for start, end in split_time(first, last + 1, meter.period_s, len(points)):
        asked = [(one.point_id, _within(one.observed_at_ms, start, end)) for one in with_any]
        some = [point_id for point_id, count in asked if count]
        if some:
            for point_id, series in read_around(session, [Wanted(meter.id, some, start, end)], beside=0).items():
                parts[point_id].append(series)
    return {point_id: _join(found) for point_id, found in parts.items()}


def _within(times: Int64s, start: int, end: int) -> int:
    return int(np.searchsorted(times, end) - np.searchsorted(times, start))


def _join(parts: Sequence[Series]) -> Series:
    return Series(
        np.concatenate([part.observed_at_ms for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.quality for part in parts]),
    )


def store_meter(
    session: Session, engine: Engine, meter: Meter, readings: Sequence[PointReadings], *, is_making: bool
) -> int:
    """Store readings of one meter and note what they change; return how many rows they became.

    `is_making` says that this transaction has made meters or points. Else missing layouts are made in a transaction of
    their own: it holds the lock on the controller's row for a moment only, for which ingest may wait. A layout without
    rows does no harm.
    """
    groups = list(_rows_of(readings))
    wanted = [point_ids for point_ids, _ in groups]
    if is_making:
        layout_ids = _make_layouts(session, meter, wanted)
    else:
        with Session(engine) as aside, aside.begin():
            layout_ids = _make_layouts(aside, meter, wanted)
    rows = [
        ScanRows(meter.id, layout_ids[point_ids], part) for point_ids, columns in groups for part in _in_parts(columns)
    ]
    connection = session.connection()
    copy_scans(connection, rows)
    # Ingest does this once in a transaction; here each meter does, and must not find the scans of the one before.
    connection.execute(_FORGET_NEWEST)
    update_latest(connection, rows)
    times = np.concatenate([columns.observed_at_ms for _, columns in groups])
    mark_scans(connection, [ScanSpan(meter.id, times)])
    return len(times)


def _rows_of(readings: Sequence[PointReadings]) -> Iterator[tuple[tuple[int, ...], ScanColumns]]:
    """Put readings of one instant into one row, and rows with the same points together."""
    times = np.unique(np.concatenate([one.observed_at_ms for one in readings]))
    is_there = np.zeros((len(times), len(readings)), dtype=bool)
    value = np.full(is_there.shape, np.nan)
    quality = np.zeros(is_there.shape, dtype=np.int16)
    for column, one in enumerate(readings):
        at = np.searchsorted(times, one.observed_at_ms)
        is_there[at, column] = True
        value[at, column], quality[at, column] = one.value, one.quality
    patterns, which = np.unique(is_there, axis=0, return_inverse=True)
    if len(patterns) > _LAYOUTS_MAX:
        for one in readings:
            yield (one.point_id,), _columns(one.observed_at_ms, one.value[:, None], one.quality[:, None])
        return
    for number, pattern in enumerate(patterns):
        rows = which.reshape(-1) == number
        chosen = tuple(one.point_id for one, is_in in zip(readings, pattern.tolist(), strict=True) if is_in)
        yield chosen, _columns(times[rows], value[rows][:, pattern], quality[rows][:, pattern])


def _columns(times: Int64s, value: NDArray[np.float64], quality: NDArray[np.int16]) -> ScanColumns:
    numbers = np.zeros(len(times), dtype=np.int64)  # no stream, so no numbers; COPY does not carry them
    return ScanColumns(0, numbers, times, value, quality if quality.any() else None)


def _in_parts(columns: ScanColumns) -> Iterator[ScanColumns]:
    for start in range(0, len(columns.observed_at_ms), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        yield ScanColumns(
            0,
            columns.sequences[part],
            columns.observed_at_ms[part],
            columns.values[part],
            None if columns.quality is None else columns.quality[part],
        )


def _make_layouts(session: Session, meter: Meter, wanted: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    """Return the layouts of these points, in this order; add those that are missing."""
    known = _layouts(session, meter.id)
    if not set(wanted) <= known.keys():
        # Whoever adds a layout holds this lock, so that no two are alike.
        session.execute(select(Controller.id).where(Controller.id == meter.controller_id).with_for_update())
        known = _layouts(session, meter.id)
        for point_ids in dict.fromkeys(wanted):
            if point_ids not in known:
                layout = StoredLayout(meter_id=meter.id, point_ids=list(point_ids))
                session.add(layout)
                session.flush()
                known[point_ids] = layout.id
    return known


def _layouts(session: Session, meter_id: int) -> dict[tuple[int, ...], int]:
    query = select(StoredLayout.point_ids, StoredLayout.id).where(StoredLayout.meter_id == meter_id)
    return {tuple(point_ids): layout_id for point_ids, layout_id in session.execute(query)}

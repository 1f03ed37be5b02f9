"""Read the ledger for a scope and add its registers up, site by site, in bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.analysis.model import Counted, Flow, SitePart
from cloud_hub.analysis.sums import FlowSums, Mask, add_register, durations_ms, no_sums
from cloud_hub.calendar.days import Grid, make_grid, ms_of_instant
from cloud_hub.energy.model import Int64s, IntervalQuality, Intervals
from cloud_hub.ledger.versions import LedgerColumns, read_ledger

_ROWS_AT_ONCE = 20_000
"""Days of registers read with one statement: about 100 MB of columns at half hours."""

# The ledger begins with a register's first reading, in the middle of its first day; before, nothing was expected.
# Who commissioned the meter at an instant has said so himself, whether or not a reading came.
_EXPECTED_FROM = text("""
SELECT w.point_id, m.commissioned_at, first.start_at, first.interval_s, first.qualities
FROM unnest(CAST(:point_ids AS bigint[])) AS w (point_id)
JOIN points p ON p.id = w.point_id
JOIN meters m ON m.id = p.meter_id
LEFT JOIN LATERAL (
    SELECT d.start_at, d.interval_s, d.qualities FROM ledger_days d
    WHERE d.point_id = w.point_id ORDER BY d.day LIMIT 1
) AS first ON true
""")


@dataclass(frozen=True, slots=True)
class PartSums:
    """The flows of the part of a scope that lies in one site, on its own grid."""

    part: SitePart
    grid: Grid
    flows: Mapping[Flow, FlowSums]

    @property
    def durations_ms(self) -> Int64s:
        """The length of each interval."""
        return durations_ms(self.grid)


@dataclass(frozen=True, slots=True)
class Span:
    """What time is asked for, and from when it is looked at."""

    first: date
    last: date
    """Local days, both included."""
    now: datetime
    """Intervals that end later are not expected yet."""
    as_known_at: datetime | None = None
    """Ask for what the ledger held at that instant; None for the newest."""


def gather(session: Session, parts: Sequence[SitePart], span: Span) -> Iterator[PartSums]:
    """Give the flows of each part over a span of local days, many sites with one statement."""
    point_ids = sorted({counted.point_id for part in parts for counted in part.counted})
    expected_from = _read_expected_from(session, point_ids)
    grids: dict[tuple[ZoneInfo, int], Grid] = {}
    for batch in _batches(parts, (span.last - span.first).days + 1):
        wanted = sorted({counted.point_id for part in batch for counted in part.counted})
        days = read_ledger(session, wanted, span.first, span.last, span.as_known_at)
        for part in batch:
            clock = (part.zone, part.interval_s)
            if clock not in grids:
                grids[clock] = make_grid(span.first, span.last, *clock)
            grid = grids[clock]
            yield PartSums(part, grid, _add_up(part, grid, days, expected_from, ms_of_instant(span.now)))


def on_grid(known: LedgerColumns | None, grid: Grid) -> Intervals:
    """Lay what the ledger knows of a register on a grid; what it does not hold is absent.

    An interval that is none of the grid's is left out: its site's zone or interval length has just been changed,
    and the ledger is about to be computed anew.
    """
    size = len(grid)
    intervals = Intervals(
        np.zeros(size, np.int64),
        np.full(size, int(IntervalQuality.ABSENT), np.int16),
        np.zeros(size, np.int16),
        np.zeros(size, np.int32),
    )
    if known is None or not len(known) or not size:
        return intervals
    place = np.clip(np.searchsorted(grid.bounds_ms, known.start_ms), 0, size - 1)
    fits = (grid.bounds_ms[place] == known.start_ms) & (grid.bounds_ms[place + 1] == known.end_ms)
    target = place[fits]
    intervals.amounts_micro[target] = known.amounts_micro[fits]
    intervals.qualities[target] = known.qualities[fits]
    intervals.completenesses[target] = known.completenesses[fits]
    intervals.causes[target] = known.causes[fits]
    return intervals


def _add_up(
    part: SitePart, grid: Grid, days: Mapping[int, LedgerColumns], expected_from: Mapping[int, int], now_ms: int
) -> dict[Flow, FlowSums]:
    flows: dict[Flow, FlowSums] = {}
    laid = {
        point_id: on_grid(days.get(point_id), grid)
        for point_id in sorted({counted.point_id for counted in part.counted})
    }
    for counted in part.counted:
        sums = flows.setdefault(counted.flow, no_sums(len(grid)))
        expected = _expected(counted, grid, expected_from.get(counted.point_id), now_ms)
        add_register(sums, laid[counted.point_id], expected)
    return flows


def _expected(counted: Counted, grid: Grid, from_ms: int | None, now_ms: int) -> Mask:
    """Say in which intervals a register counts: it was there, they are over, and its record is valid at their start."""
    starts, ends = grid.bounds_ms[:-1], grid.bounds_ms[1:]
    if from_ms is None:
        return np.zeros(len(grid), np.bool_)
    expected = (ends > from_ms) & (ends <= now_ms)
    if counted.from_ms is not None:
        expected &= starts >= counted.from_ms
    if counted.until_ms is not None:
        expected &= starts < counted.until_ms
    return np.asarray(expected)


def _read_expected_from(session: Session, point_ids: Sequence[int]) -> dict[int, int]:
    if not point_ids:
        return {}
    found = {}
    for row in session.execute(_EXPECTED_FROM, {"point_ids": list(point_ids)}):
        if row.commissioned_at is not None:
            found[row.point_id] = ms_of_instant(row.commissioned_at)
        elif row.start_at is not None:
            lead = next((n for n, code in enumerate(row.qualities) if code != IntervalQuality.ABSENT), 0)
            found[row.point_id] = ms_of_instant(row.start_at) + lead * row.interval_s * 1000
    return found


def _batches(parts: Sequence[SitePart], days: int) -> Iterator[list[SitePart]]:
    batch: list[SitePart] = []
    rows = 0
    for part in parts:
        more = len({counted.point_id for counted in part.counted}) * days
        if batch and rows + more > _ROWS_AT_ONCE:
            yield batch
            batch, rows = [], 0
        batch.append(part)
        rows += more
    if batch:
        yield batch

"""From readings to day rows: read what the changed registers need, compute, and lay the result out in whole days."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import Grid, date_of_number, day_number, local_date_of_ms, make_grid
from cloud_hub.energy.compute import Context, compute, cut, gap_days
from cloud_hub.energy.model import CALCULATION, Cause, Computed, Finding, FindingKind, Int64s, IntervalQuality
from cloud_hub.energy.reference import LookUp, ReferenceDays, make_reference, no_reference
from cloud_hub.ledger import window as windows
from cloud_hub.ledger.claim import Change
from cloud_hub.ledger.day_rows import DayRows, DaySpan, empty_days, load_days
from cloud_hub.ledger.dirty import AHEAD_MS
from cloud_hub.ledger.facts import MeterFacts, PointFacts
from cloud_hub.ledger.history import align, differences
from cloud_hub.ledger.window import BESIDE, Window
from cloud_hub.readings.series import Series
from cloud_hub.readings.service import Wanted, read_around

COMPARISONS = frozenset({FindingKind.HIGH_USE, FindingKind.LOW_USE})
"""What is found by comparing a day with like days weeks before."""

_COMPARED = int(Cause.HIGH_USE | Cause.LOW_USE)
_LOOKS_BACK = (IntervalQuality.ESTIMATED, IntervalQuality.MISSING)

_Integer = TypeVar("_Integer", bound=np.integer[Any])


@dataclass(frozen=True, slots=True)
class Job:
    """One register, and where something has changed."""

    meter: MeterFacts
    point: PointFacts
    change: Change

    @property
    def gap_ms(self) -> int:
        """Readings further apart have a gap between them."""
        return self.point.ruleset.gap.intervals * self.meter.interval_s * 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """The days of a job that may have changed, as they are now to be."""

    job: Job
    window: Window
    rows: DayRows
    """`known_us` is yet to be said."""
    old: DayRows
    """What the ledger says of these days so far, and of the next one, should it have been further."""
    findings: Sequence[Finding]
    is_compared: bool
    """False where no day is new to be compared with like days: what was found so stays."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read for a job."""

    first: date
    last: date
    series: Series


@dataclass(frozen=True, slots=True)
class _Task:
    """A job with all that it needs."""

    job: Job
    window: Window
    series: Series
    until_ms: int
    """The horizon: nothing after is known."""

    @property
    def span(self) -> DaySpan:
        """The days whose rows are replaced; with the one after, should the ledger have been further."""
        last = self.window.write_last
        is_newest = last >= local_date_of_ms(self.until_ms - 1, self.job.meter.zone)
        return DaySpan(self.job.point.point_id, self.window.write_first, last + timedelta(days=is_newest))


def compute_jobs(session: Session, jobs: Sequence[Job], now_ms: int) -> list[Outcome]:
    """Compute jobs, no two of the same register. A job that has nothing to write has no outcome."""
    connection = session.connection()
    read = _read_first(session, jobs, now_ms)
    waiting: list[tuple[Job, Window | None]] = [(job, None) for job in jobs]
    outcomes: list[Outcome] = []
    while waiting:
        ready: list[_Task] = []
        later: list[tuple[Job, Window | None]] = []
        unread: list[tuple[Job, date, date]] = []
        for job, wider in waiting:
            one = read[job.point.point_id]
            valued = one.series.observed_at_ms[np.isfinite(one.series.value)]
            until_ms = windows.horizon(valued, now_ms, job.point.period_s)
            window = _without_bygone(wider or _choose(job, valued, until_ms), job.meter)
            if window is None:
                continue
            if one.first <= window.grid_first and window.grid_last <= one.last:
                ready.append(_Task(job, window, one.series, until_ms))
            else:
                unread.append((job, min(window.grid_first, one.first), max(window.grid_last, one.last)))
                later.append((job, wider))
        read.update(_read(session, unread, now_ms))
        old = load_days(connection, [task.span for task in ready]) if ready else {}
        for task in ready:
            outcome = _compute(connection, task, old.get(task.job.point.point_id) or empty_days())
            if isinstance(outcome, Window):
                later.append((task.job, outcome))
            elif outcome is not None:
                outcomes.append(outcome)
        waiting = later
    return outcomes


def _choose(job: Job, valued: Int64s, until_ms: int) -> Window | None:
    zone, change = job.meter.zone, job.change
    if change.is_silence:
        return windows.choose_silent_window(valued, change.from_ms, until_ms=until_ms, gap_ms=job.gap_ms, zone=zone)
    return windows.choose_window(valued, change.from_ms, change.to_ms, until_ms=until_ms, gap_ms=job.gap_ms, zone=zone)


def _without_bygone(window: Window | None, meter: MeterFacts) -> Window | None:
    """Leave out the days whose readings are no longer kept: what is known of them would turn into nothing."""
    if window is None or meter.written_from is None or window.write_first >= meter.written_from:
        return window
    return None if window.write_last < meter.written_from else replace(window, write_first=meter.written_from)


def _read_first(session: Session, jobs: Sequence[Job], now_ms: int) -> dict[int, _Read]:
    asked = []
    for job in jobs:
        change = job.change
        asked.append((job, *windows.guess(change.from_ms, change.to_ms, job.point.period_s, job.meter.zone)))
    return _read(session, asked, now_ms)


def _read(session: Session, asked: Sequence[tuple[Job, date, date]], now_ms: int) -> dict[int, _Read]:
    """Read the days of jobs and what stands beside them, without the readings that do not count."""
    if not asked:
        return {}
    wanted = []
    for job, first, last in asked:
        zone = job.meter.zone
        end = windows.day_start_ms(last + timedelta(days=1), zone)
        near = windows.near_ms(job.gap_ms)
        start = windows.day_start_ms(first, zone)
        wanted.append(Wanted(job.meter.meter_id, [job.point.point_id], start - near, end + near))
    # Readings that do not count must not take the place of those that do.
    set_aside = max(len(job.meter.suspect_ms) + len(job.meter.discarded_ms) for job, _, _ in asked)
    found = read_around(session, wanted, beside=BESIDE + set_aside)
    return {
        job.point.point_id: _Read(first, last, _countable(found[job.point.point_id], job.meter, now_ms))
        for job, first, last in asked
    }


def _countable(series: Series, meter: MeterFacts, now_ms: int) -> Series:
    times = series.observed_at_ms
    counts = times <= now_ms + AHEAD_MS
    if meter.commissioned_ms is not None:
        counts &= times >= meter.commissioned_ms
    for set_aside in (meter.suspect_ms, meter.discarded_ms):
        if len(set_aside):
            counts &= ~np.isin(times, set_aside)
    return series if counts.all() else series.take(np.flatnonzero(counts))


def _compute(connection: Connection, task: _Task, old: DayRows) -> Outcome | Window | None:
    """Compute a task; answers a wider window when a gap is longer than its readings let expect."""
    job, window = task.job, task.window
    meter, point = job.meter, job.point
    whole = _grid(window.grid_first, window.grid_last, meter.zone, meter.interval_s)
    grid = cut(whole, task.until_ms)
    if not len(grid):
        return None
    written = day_number(window.write_first), day_number(window.write_last)
    context = Context(
        zone=meter.zone,
        interval_s=meter.interval_s,
        ruleset=point.ruleset,
        written=written,
        edits=point.edits,
        suspect=meter.suspect_spans,
    )
    if _adds_to_today(task):
        usual = replace(context, ruleset=point.ruleset_of_today)
        computed = compute(task.series, point.registers, point.exchanges, grid, usual)
        rows = _keep_comparisons(_lay_out(computed, whole, window, meter.interval_s), old)
        if rows is not None:
            return Outcome(job, window, rows, old, computed.findings, is_compared=False)
    context = replace(context, look_up=_look_up(connection, job))
    computed = compute(task.series, point.registers, point.exchanges, grid, context)
    first, last = (date_of_number(number) for number in gap_days(computed.findings, meter.zone, written))
    first = max(first, meter.written_from or first)
    last = min(last, local_date_of_ms(task.until_ms - 1, meter.zone))
    if (first, last) != (window.write_first, window.write_last):
        return windows.widen(first, last, task.until_ms, meter.zone)
    rows = _lay_out(computed, whole, window, meter.interval_s)
    return Outcome(job, window, rows, old, computed.findings, is_compared=True)


def _adds_to_today(task: _Task) -> bool:
    """Say whether all that has changed lies in a day that is not over: the usual case.

    Then the days before are written anew only if the register tells otherwise of them, and need no looking back at
    weeks, which would cost more than all the rest.
    """
    change, zone = task.job.change, task.job.meter.zone
    today = local_date_of_ms(task.until_ms - 1, zone)
    is_over = windows.day_start_ms(today + timedelta(days=1), zone) <= task.until_ms
    return not change.is_silence and not is_over and local_date_of_ms(change.from_ms, zone) >= today


def _keep_comparisons(rows: DayRows, old: DayRows) -> DayRows | None:
    """Take over what comparing said of the days that are over; None when one of them must be computed in full."""
    if np.isin(rows.qualities, _LOOKS_BACK).any():
        return None
    before, strays = align(rows, old)
    if len(strays):
        return None
    over = int(rows.offsets[-2])
    causes = np.where(
        np.arange(len(rows.causes)) < over, (rows.causes & ~_COMPARED) | (before.causes & _COMPARED), rows.causes
    )
    kept = replace(rows, causes=causes.astype(np.int32))
    return None if differences(kept, before)[:over].any() else kept


@lru_cache(maxsize=256)
def _grid(first: date, last: date, zone: ZoneInfo, interval_s: int) -> Grid:
    return make_grid(first, last, zone, interval_s)


def _lay_out(computed: Computed, whole: Grid, window: Window, interval_s: int) -> DayRows:
    """Cut out the written days; what has not ended yet is absent."""
    start = int(np.searchsorted(whole.day, day_number(window.write_first), side="left"))
    end = int(np.searchsorted(whole.day, day_number(window.write_last), side="right"))
    days, firsts, sizes = np.unique(whole.day[start:end], return_index=True, return_counts=True)
    starts = start + firsts

    def pad(column: NDArray[_Integer], filler: int) -> NDArray[_Integer]:
        cut = column[start:end]
        return np.concatenate((cut, np.full(end - start - len(cut), filler, column.dtype)))

    final = computed.final
    return DayRows(
        day=days.astype(np.int64),
        start_us=whole.bounds_ms[starts] * 1000,
        end_us=whole.bounds_ms[starts + sizes] * 1000,
        interval_s=np.full(len(days), interval_s, np.int64),
        calculation=np.full(len(days), CALCULATION, np.int64),
        sizes=sizes.astype(np.int64),
        amounts_micro=pad(final.amounts_micro, 0),
        registered_micro=pad(computed.registered.amounts_micro, 0),
        qualities=pad(final.qualities, IntervalQuality.ABSENT),
        completenesses=pad(final.completenesses, 0),
        causes=pad(final.causes, 0),
        methods=pad(computed.methods, 0),
        known_us=np.zeros(end - start, np.int64),
    )


def _look_up(connection: Connection, job: Job) -> LookUp:
    """Make the way to a register's earlier days, as the ledger has them."""

    def look_up(first: int, last: int) -> ReferenceDays:
        span = DaySpan(job.point.point_id, date_of_number(first), date_of_number(last))
        rows = load_days(connection, [span]).get(job.point.point_id)
        return reference_days(rows, job.meter.zone, job.meter.interval_s)

    return look_up


def reference_days(rows: DayRows | None, zone: ZoneInfo, interval_s: int) -> ReferenceDays:
    """Turn rows of the ledger into days that others may be estimated from."""
    if rows is None or (rows.interval_s != interval_s).any():
        return no_reference(interval_s)
    grid = _grid(date_of_number(int(rows.day[0])), date_of_number(int(rows.day[-1])), zone, interval_s)
    there = np.isin(grid.day, rows.day)
    if int(there.sum()) != len(rows.qualities):  # laid out by another time zone, and about to be computed anew
        return no_reference(interval_s)
    return make_reference(
        grid.day[there], grid.slot[there], rows.amounts_micro, rows.qualities, rows.causes, interval_s=interval_s
    )

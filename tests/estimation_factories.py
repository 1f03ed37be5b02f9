"""Makes what the checks and estimates look at: grids, intervals, registers with a daily rhythm."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from cloud_hub.calendar.days import Grid, day_number, make_grid
from cloud_hub.energy.compute import Context
from cloud_hub.energy.model import COMPLETE, MICRO, Cause, Computed, Gap, Int64s, IntervalQuality, Intervals, Measured
from cloud_hub.energy.reference import ReferenceDays, make_reference
from cloud_hub.energy.rules import Override, load_ruleset
from cloud_hub.readings.series import Series

UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
HOUR_MS = 3_600_000
MONDAY = date(2026, 3, 2)
QUIET = ("high_use", "low_use", "spike", "zero_use")
"""Checks that artificial loads would set off where something else is tested."""


def make_days(first: date = MONDAY, count: int = 1, zone: ZoneInfo = UTC_ZONE, interval_s: int = 3600) -> Grid:
    return make_grid(first, first + timedelta(days=count - 1), zone, interval_s)


def rhythm(grid: Grid, weekday_wh: int = 500, weekend_wh: int = 200) -> Int64s:
    """Return micro units that rise and fall by the wall clock, and are less at weekends."""
    height = np.where((grid.day + 3) % 7 < 5, weekday_wh, weekend_wh)
    hour = grid.slot.astype(np.int64) // 60
    amounts: Int64s = height * (4 + np.minimum(hour, 23 - hour)) * MICRO // 10
    return amounts


def make_intervals(
    amounts_micro: Sequence[int] | Int64s, marks: Mapping[int, tuple[IntervalQuality, Cause]] | None = None
) -> Intervals:
    """Make intervals that are measured but for `marks`, by their place."""
    count = len(amounts_micro)
    intervals = Intervals(
        np.array(amounts_micro, np.int64),
        np.zeros(count, np.int16),
        np.full(count, COMPLETE, np.int16),
        np.zeros(count, np.int32),
    )
    for index, (quality, cause) in (marks or {}).items():
        intervals.qualities[index], intervals.causes[index] = quality, cause
        intervals.completenesses[index] = COMPLETE if quality == IntervalQuality.MEASURED else 0
    return intervals


def make_measured(intervals: Intervals, *gaps: Gap) -> Measured:
    return Measured(intervals, gaps, ())


def make_reference_days(
    before: date, count: int = 28, zone: ZoneInfo = UTC_ZONE, interval_s: int = 3600, times: int = 1
) -> ReferenceDays:
    """Make the days before one, each with its rhythm, `times` as high."""
    grid = make_days(before - timedelta(days=count), count, zone, interval_s)
    known = make_intervals(rhythm(grid) * times)
    return make_reference(
        grid.day, grid.slot, known.amounts_micro, known.qualities, known.causes, interval_s=interval_s
    )


def make_context(
    zone: ZoneInfo = UTC_ZONE, interval_s: int = 3600, *, off: Sequence[str] = QUIET, **changed: Any
) -> Context:
    overrides = [Override("*", rule, {"action": "off"}) for rule in off]
    ruleset = load_ruleset("electricity_meter", "active_energy", [*overrides, *changed.pop("overrides", ())])
    return Context(zone=zone, interval_s=interval_s, ruleset=ruleset, **changed)


def make_series(at_ms: Sequence[int] | Int64s, register: Sequence[float]) -> Series:
    return Series(np.array(at_ms, np.int64), np.array(register, np.float64), np.zeros(len(at_ms), np.int16))


def series_of(grid: Grid, amounts_micro: Int64s, start: int = 10_000) -> Series:
    """Make a register that is read at every border of a grid."""
    counted = np.concatenate([[0], np.cumsum(amounts_micro)])
    return make_series(grid.bounds_ms, (start + counted / MICRO).tolist())


def without(series: Series, from_ms: int, to_ms: int) -> Series:
    """Take away the readings from one instant to before another."""
    kept = (series.observed_at_ms < from_ms) | (series.observed_at_ms >= to_ms)
    return series.take(np.flatnonzero(kept))


def number(day: date) -> int:
    return day_number(day)


def contents(computed: Computed, rows: slice = slice(None)) -> list[list[int]]:
    """Return everything that the ledger would hold of some intervals."""
    final, registered = computed.final, computed.registered
    columns = (
        final.amounts_micro,
        final.qualities,
        final.completenesses,
        final.causes,
        computed.methods,
        registered.amounts_micro,
    )
    return [column[rows].tolist() for column in columns]

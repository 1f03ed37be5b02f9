"""Power out of energy: peak, base load, the shape of a day, the heat map, inside and outside of hours. Pure.

Power is the mean of an interval, in millionths of the unit per hour; it is rounded down and only shown, never
summed.
"""

from collections.abc import Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from cloud_hub.analysis.model import FigureQuality
from cloud_hub.analysis.results import BaseLoad, CellState, Column, DayShape, Peak
from cloud_hub.analysis.sums import FlowSums, Mask, durations_ms
from cloud_hub.calendar.days import Grid, date_of_number, instant_of_ms
from cloud_hub.energy.model import Int64s, IntervalQuality

_MS_PER_H = 3_600_000
_FACTOR = Decimal("0.0001")
_TENTH = 10
_QUALITY = {
    IntervalQuality.MEASURED: FigureQuality.MEASURED,
    IntervalQuality.ESTIMATED: FigureQuality.ESTIMATED,
    IntervalQuality.EDITED: FigureQuality.EDITED,
    IntervalQuality.PARTIAL: FigureQuality.PARTIAL,
    IntervalQuality.MISSING: FigureQuality.MISSING,
    IntervalQuality.ABSENT: FigureQuality.NOT_EXPECTED,
}


class Heat(NamedTuple):
    """The cells of a heat map, row by row."""

    days: tuple[date, ...]
    columns: tuple[Column, ...]
    power_micro_per_h: tuple[tuple[int | None, ...], ...]
    qualities: tuple[tuple[str, ...], ...]


def power_micro_per_h(amount_micro: int, duration_ms: int) -> int:
    """Return the mean power of an amount over a stretch of time."""
    return amount_micro * _MS_PER_H // duration_ms


def split_by_hours(sums: FlowSums, durations: Int64s, open_ms: Int64s) -> tuple[FlowSums, FlowSums]:
    """Split each interval into its part inside and its part outside operating hours, by time.

    Amounts inside are rounded down to whole millionths and the rest is outside: both add up to the whole, exactly.
    Counts and completeness stay with both parts; their time is that of `open_ms`, and of what it leaves.
    """
    # Dividing first keeps the product within 64 bits: megawatt hours times an hour in milliseconds would not be.
    whole, rest = np.divmod(sums.amounts_micro, durations)
    inside = whole * open_ms + rest * open_ms // durations
    return (
        FlowSums(inside, sums.counts, sums.complete),
        FlowSums(sums.amounts_micro - inside, sums.counts, sums.complete),
    )


def is_measured(sums: FlowSums) -> Mask:
    """Say in which intervals every expected register was measured."""
    return np.asarray(sums.qualities == IntervalQuality.MEASURED)


def find_peaks(sums: FlowSums, grid: Grid, zone: ZoneInfo) -> tuple[Peak | None, Peak | None]:
    """Return the highest measured interval, and one that is known and higher but not measured.

    Without any measured interval, the first is the highest known one, and says so.
    """
    measured = _find_highest(sums, grid, zone, is_measured(sums))
    known = _find_highest(sums, grid, zone, sums.known)
    if measured is None or known is None:
        return known, None
    return measured, known if known.power_micro_per_h > measured.power_micro_per_h else None


def find_base_load(sums: FlowSums, grid: Grid) -> BaseLoad | None:
    """Return the mean power of the lowest tenth of the measured intervals, at least one; None without any."""
    places = np.flatnonzero(is_measured(sums))
    if not len(places):
        return None
    durations = durations_ms(grid)
    by_power = places[np.argsort(_powers(sums, durations)[places], kind="stable")]
    lowest = by_power[: max(1, len(places) // _TENTH)]
    return BaseLoad(_mean_power(sums, durations, lowest), len(lowest))


def mean_power(sums: FlowSums, grid: Grid) -> int | None:
    """Return the mean power of the measured intervals; None without any."""
    places = np.flatnonzero(is_measured(sums))
    return _mean_power(sums, durations_ms(grid), places) if len(places) else None


def load_factor(mean_micro_per_h: int | None, peak: Peak | None) -> Decimal | None:
    """Return mean over peak power, to four digits; None where either is not measured, or nothing flowed."""
    if mean_micro_per_h is None or peak is None or not peak.is_measured or peak.power_micro_per_h <= 0:
        return None
    return (Decimal(mean_micro_per_h) / peak.power_micro_per_h).quantize(_FACTOR, ROUND_HALF_UP)


def shape_days(sums: FlowSums, grid: Grid) -> tuple[DayShape, ...]:
    """Average the power by the wall clock, for weekdays, Saturdays and Sundays that have any known interval.

    Intervals known in part only are left out; both passes of a repeated hour enter.
    """
    durations = durations_ms(grid)
    usable = sums.known & (sums.qualities != IntervalQuality.PARTIAL)
    weekdays = (grid.day + 3) % 7  # 1970-01-01 was a Thursday
    shapes = []
    for name, of_kind in (("weekday", weekdays < 5), ("saturday", weekdays == 5), ("sunday", weekdays == 6)):
        places = np.flatnonzero(of_kind & usable)
        if len(places):
            slots = np.unique(grid.slot[np.flatnonzero(of_kind)])
            by_slot = [places[grid.slot[places] == slot] for slot in slots]
            powers = tuple(_mean_power(sums, durations, chosen) if len(chosen) else None for chosen in by_slot)
            shapes.append(DayShape(name, len(np.unique(grid.day[places])), tuple(slots.tolist()), powers))
    return tuple(shapes)


def draw_heat(sums: FlowSums, grid: Grid) -> Heat:
    """Lay the power out by local day and wall clock."""
    keys = list(zip(grid.slot.tolist(), _second_pass(grid).tolist(), strict=True))
    columns = _columns(keys, _typical_step(grid))
    place = {(column.slot, column.is_repeated): n for n, column in enumerate(columns)}
    days = np.unique(grid.day).tolist()
    row_of = {day: n for n, day in enumerate(days)}
    powers: list[list[int | None]] = [[None] * len(columns) for _ in days]
    states: list[list[str]] = [[CellState.NO_SUCH_TIME] * len(columns) for _ in days]
    values, known = _powers(sums, durations_ms(grid)).tolist(), sums.known.tolist()
    cells = zip(grid.day.tolist(), keys, values, known, sums.qualities.tolist(), strict=True)
    for day, key, value, is_known, quality in cells:
        row, column = row_of[day], place[key]
        powers[row][column] = value if is_known else None
        states[row][column] = _QUALITY[IntervalQuality(quality)]
    return Heat(
        tuple(date_of_number(day) for day in days),
        columns,
        tuple(tuple(row) for row in powers),
        tuple(tuple(row) for row in states),
    )


def _second_pass(grid: Grid) -> Mask:
    """Say which intervals begin at a wall clock that their day has shown before."""
    repeated = np.zeros(len(grid), np.bool_)
    back = np.flatnonzero((np.diff(grid.slot) <= 0) & (np.diff(grid.day) == 0)) + 1
    for start in back.tolist():
        reached = grid.slot[start - 1]
        end = start
        while end < len(grid) and grid.day[end] == grid.day[start] and grid.slot[end] <= reached:
            repeated[end] = True
            end += 1
    return repeated


def _columns(keys: Sequence[tuple[int, bool]], step_min: int) -> tuple[Column, ...]:
    """Order the columns as the clock goes: a repeated stretch stands behind its first pass."""
    again = sorted({slot for slot, is_repeated in keys if is_repeated})
    ends: dict[int, int] = {}
    for slot in reversed(again):
        ends[slot] = ends.get(slot + step_min, slot)
    ordered = sorted(set(keys), key=lambda key: (ends[key[0]] if key[1] else key[0], key[1], key[0]))
    return tuple(Column(slot, is_repeated) for slot, is_repeated in ordered)


def _typical_step(grid: Grid) -> int:
    return int(durations_ms(grid).max()) // 60_000 if len(grid) else 0


def _find_highest(sums: FlowSums, grid: Grid, zone: ZoneInfo, chosen: Mask) -> Peak | None:
    places = np.flatnonzero(chosen)
    if not len(places):
        return None
    powers = _powers(sums, durations_ms(grid))
    at = int(places[np.argmax(powers[places])])
    start, end = (instant_of_ms(int(grid.bounds_ms[n])) for n in (at, at + 1))
    return Peak(int(powers[at]), start, end, start.astimezone(zone), bool(is_measured(sums)[at]))


def _powers(sums: FlowSums, durations: Int64s) -> Int64s:
    # Within 64 bits up to gigawatt hours in an interval, for the reason given in `split_by_hours`.
    whole, rest = np.divmod(sums.total_micro, durations)
    return np.asarray(whole * _MS_PER_H + rest * _MS_PER_H // durations)


def _mean_power(sums: FlowSums, durations: Int64s, places: Int64s) -> int:
    return power_micro_per_h(int(sums.total_micro[places].sum()), int(durations[places].sum()))

"""Checks over a series of intervals. Pure: they say what is doubtful, and change nothing.

Every check looks at what the register itself says, within `REACH_MS` of the interval it judges; only high and low
use look back further, at measured days. What it finds is named by where it begins, and where that is does not
depend on where the series does. A run of intervals above a limit is told day by day for that reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.days import Grid
from cloud_hub.energy.model import MICRO, Cause, Finding, FindingKind, Int32s, Int64s, IntervalQuality, Intervals
from cloud_hub.energy.rules import DayUse, Ruleset, Stuck

_HOUR_MS = 3_600_000
_CONTEXT_MS = 24 * _HOUR_MS

REACH_MS = 50 * _HOUR_MS
"""The farthest look: a frozen run of a day, two hours in which it catches up, and the day before it."""

_CATCH_UP_INTERVALS = 2
"""A register read between the borders catches up in two intervals, not one."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judged:
    """A series of intervals as the checks see it."""

    grid: Grid
    intervals: Intervals
    limit_micro: NDArray[np.float64]
    """Of each interval: the most that the register can count in it; infinite where any amount is possible."""
    consumes: Bools
    """Counts what the site consumes. What it feeds in is made by the sun, and has no habits to compare with."""
    both_ways: Bools
    """A net register: may run backwards."""

    @property
    def measured(self) -> Bools:
        """Of each interval: the register says all of it."""
        measured: Bools = self.intervals.qualities == IntervalQuality.MEASURED
        return measured


@dataclass(slots=True)
class Doubts:
    """What the checks add. Filled by them one after the other."""

    causes: Int32s
    findings: list[Finding]
    stuck: list[tuple[int, int]]
    """Frozen runs to be spread anew, with the intervals in which they catch up: first, and one after the last."""


@dataclass(frozen=True, slots=True)
class DaySpan:
    """A local day and its intervals: `[first, end)`."""

    day: int
    first: int
    end: int
    is_whole: bool
    """All of its intervals are there."""


def validate(judged: Judged, ruleset: Ruleset, days: list[DaySpan]) -> Doubts:
    """Run all checks that need no look back; those by the day only on `days`."""
    doubts = Doubts(np.zeros(len(judged.grid), np.int32), [], [])
    if ruleset.negative.action != "off":
        below = (judged.intervals.amounts_micro < 0) & ~judged.both_ways
        _doubt(judged, doubts, below, (Cause.NEGATIVE, FindingKind.NEGATIVE), days)
    if ruleset.max_demand.action != "off":
        above = judged.intervals.amounts_micro > judged.limit_micro * ruleset.max_demand.ratio + 1
        _doubt(judged, doubts, above, (Cause.MAX_DEMAND, FindingKind.MAX_DEMAND), days)
    zeros = judged.measured & judged.consumes & (judged.intervals.amounts_micro == 0)
    if zeros.any():
        runs = _runs(zeros)
        if ruleset.stuck.action != "off":
            check_stuck(judged, ruleset.stuck, runs, doubts)
        if ruleset.zero_use.action != "off":
            check_zero_use(judged, ruleset.zero_use.hours, runs, doubts)
    if ruleset.spike.action != "off":
        for span in days:
            check_spike(judged, ruleset, span, doubts)
    return doubts


def days_of(grid: Grid, written: tuple[int, int] | None) -> list[DaySpan]:
    """Return the local days of a grid, those from the first to the last of `written` where that is given."""
    starts = np.flatnonzero(np.diff(grid.day, prepend=grid.day[0] - 1)).tolist() if len(grid) else []
    spans = []
    for first, end in pairwise([*starts, len(grid)]):
        day = int(grid.day[first])
        if written is None or written[0] <= day <= written[1]:
            minutes = int(grid.bounds_ms[end] - grid.bounds_ms[end - 1]) // 60_000
            spans.append(DaySpan(day, first, end, int(grid.slot[end - 1]) + minutes >= 24 * 60))
    return spans


def _doubt(judged: Judged, doubts: Doubts, which: Bools, names: tuple[Cause, FindingKind], days: list[DaySpan]) -> None:
    """Mark intervals, and tell each day's in one finding with the most extreme of them."""
    if not which.any():
        return
    doubts.causes[which] |= np.int32(names[0])
    for span in days:
        rows = np.flatnonzero(which[span.first : span.end]) + span.first
        if len(rows):
            amounts = judged.intervals.amounts_micro[rows]
            worst = int(amounts[np.argmax(np.abs(amounts))])
            detail = {"intervals": len(rows), "worst_micro": worst}
            doubts.findings.append(_finding(judged.grid, names[1], (int(rows[0]), int(rows[-1]) + 1), detail))


def _finding(grid: Grid, kind: FindingKind, rows: tuple[int, int], detail: Mapping[str, str | int | float]) -> Finding:
    return Finding(kind, int(grid.bounds_ms[rows[0]]), int(grid.bounds_ms[rows[1]]), detail)


def _runs(which: Bools) -> list[tuple[int, int]]:
    """Return the runs of True: first, and one after the last."""
    edges = np.flatnonzero(np.diff(which.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def check_stuck(judged: Judged, rule: Stuck, runs: list[tuple[int, int]], doubts: Doubts) -> None:
    """Find runs in which the register stood still with the load on.

    Both signs that `rules.toml` tells of have to be there for the run to be spread anew; one alone gets it marked.
    """
    for first, end in runs:
        last = _catch_up_end(judged, rule, first, end)
        if last is None:
            continue
        signs = _signs_of_stuck(judged, rule, first, last)
        if not any(signs):
            continue
        doubts.causes[first:last] |= np.int32(Cause.STUCK)
        estimated = all(signs) and rule.action == "estimate"
        energy = int(judged.intervals.amounts_micro[first:last].sum())
        detail = {"amount_micro": energy, "spread_anew": int(estimated)}
        doubts.findings.append(_finding(judged.grid, FindingKind.STUCK, (first, last), detail))
        if estimated:
            doubts.stuck.append((first, last))


def _catch_up_end(judged: Judged, rule: Stuck, first: int, end: int) -> int | None:
    """Return one after the last interval in which a run catches up; None if it is no such run."""
    bounds = judged.grid.bounds_ms
    length = int(bounds[end] - bounds[first])
    long_enough = rule.run_min_h * _HOUR_MS <= length <= rule.run_max_h * _HOUR_MS
    context = _context(judged, first)
    if not long_enough or context is None:
        return None
    highest = int(judged.intervals.amounts_micro[context].max())
    last = end
    while last < min(end + _CATCH_UP_INTERVALS, len(judged.grid)) and judged.measured[last]:
        if judged.intervals.amounts_micro[last] <= rule.catch_up_ratio * highest:
            break
        last += 1
    return last if last > end and highest > 0 else None


def _context(judged: Judged, first: int) -> Int64s | None:
    """Return the measured intervals of the day before a run; None if that day is not there, or not measured."""
    bounds = judged.grid.bounds_ms
    start = int(np.searchsorted(bounds, bounds[first] - _CONTEXT_MS))
    if bounds[0] > bounds[first] - _CONTEXT_MS:
        return None
    rows = np.flatnonzero(judged.measured[start:first]) + start
    return rows if 2 * len(rows) > first - start else None


def _signs_of_stuck(judged: Judged, rule: Stuck, first: int, last: int) -> tuple[bool, bool]:
    """Say whether the register hardly ever stood still before, and whether the hidden use is like that before."""
    context = _context(judged, first)
    if context is None:
        return False, False
    amounts, bounds = judged.intervals.amounts_micro, judged.grid.bounds_ms
    idle = int((amounts[context] == 0).sum())
    before = int(amounts[context].sum()) / int((bounds[context + 1] - bounds[context]).sum())
    hidden = int(amounts[first:last].sum()) / int(bounds[last] - bounds[first])
    return idle <= rule.idle_share_max * len(context), before / rule.likeness <= hidden <= before * rule.likeness


def check_zero_use(judged: Judged, hours: float, runs: list[tuple[int, int]], doubts: Doubts) -> None:
    """Find runs of nothing on a register that counted before. Told once, where the run begins."""
    bounds, wanted_ms = judged.grid.bounds_ms, int(hours * _HOUR_MS)
    for first, end in runs:
        if bounds[end] - bounds[first] < wanted_ms:
            continue
        doubts.causes[first:end] |= np.int32(Cause.ZERO_USE)
        if first > 0 and judged.intervals.qualities[first - 1] != IntervalQuality.ABSENT:
            start = int(bounds[first])
            doubts.findings.append(Finding(FindingKind.ZERO_USE, start, start + wanted_ms, {"hours": hours}))


def check_spike(judged: Judged, ruleset: Ruleset, span: DaySpan, doubts: Doubts) -> None:
    """Compare the highest interval of a whole day with the third highest. Source: rules.toml."""
    here = slice(span.first, span.end)
    rows = np.flatnonzero(judged.measured[here] & judged.consumes[here]) + span.first
    if not span.is_whole or 2 * len(rows) < span.end - span.first or len(rows) < 3:
        return
    amounts = judged.intervals.amounts_micro[rows]
    third, _, first = np.sort(amounts)[-3:].tolist()
    at = int(rows[np.argmax(amounts)])
    hours = int(judged.grid.bounds_ms[at + 1] - judged.grid.bounds_ms[at]) / _HOUR_MS
    if third <= ruleset.spike_floor_per_h * hours * MICRO or first - third <= ruleset.spike.ratio * third:
        return
    if doubts.causes[at] & int(Cause.STUCK):
        return  # The catch-up of a frozen register stands out, and is told of already.
    doubts.causes[at] |= np.int32(Cause.VALIDATION_SPIKE)
    detail = {"amount_micro": first, "third_micro": third}
    doubts.findings.append(_finding(judged.grid, FindingKind.VALIDATION_SPIKE, (at, at + 1), detail))


def days_to_compare(judged: Judged, ruleset: Ruleset, days: list[DaySpan], holidays: frozenset[int]) -> list[DaySpan]:
    """Return the days that high and low use can be judged of: whole, measured throughout, no holiday."""
    if ruleset.high_use.action == "off" and ruleset.low_use.action == "off":
        return []
    fit = judged.measured & judged.consumes
    return [span for span in days if span.is_whole and span.day not in holidays and fit[span.first : span.end].all()]


def use_checks(ruleset: Ruleset) -> list[tuple[DayUse, Cause, FindingKind]]:
    """Return the checks of a day's use that are on."""
    checks = [
        (ruleset.high_use, Cause.HIGH_USE, FindingKind.HIGH_USE),
        (ruleset.low_use, Cause.LOW_USE, FindingKind.LOW_USE),
    ]
    return [check for check in checks if check[0].action != "off"]

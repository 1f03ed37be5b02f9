"""Sums over registers and over time, with what is known about them. Pure; whole numbers throughout."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from cloud_hub.analysis.model import Figure, Flow, Residual, Step
from cloud_hub.calendar.days import Grid, date_of_number
from cloud_hub.energy.model import COMPLETE, Int16s, Int64s, IntervalQuality, Intervals

_MEASURED, _ESTIMATED, _EDITED, _PARTIAL, _MISSING, _ABSENT = (int(quality) for quality in IntervalQuality)
_WORST_LAST = np.array([_MEASURED, _EDITED, _ESTIMATED, _PARTIAL, _MISSING])

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FlowSums:
    """A flow's registers added up, per interval of a grid of n intervals."""

    amounts_micro: Int64s
    """4 by n: measured, estimated, edited, partial."""
    counts: Int64s
    """5 by n: how many registers are measured, estimated, edited, partial, missing."""
    complete: Int64s
    """n: completeness in thousandths, added up over the registers."""

    @property
    def expected(self) -> Int64s:
        """How many registers were expected to count."""
        return np.asarray(self.counts.sum(axis=0))

    @property
    def total_micro(self) -> Int64s:
        """All that is known of the amount; 0 where nothing is: see `known`."""
        return np.asarray(self.amounts_micro.sum(axis=0))

    @property
    def known(self) -> Mask:
        """Where something is known."""
        return np.asarray(self.counts[:_MISSING].sum(axis=0) > 0)

    @property
    def qualities(self) -> Int16s:
        """The worst quality of each interval; partial where some registers are missing, absent where none is expected."""
        there = self.counts > 0
        place = (there[_WORST_LAST] * np.arange(1, 6)[:, None]).max(axis=0)
        worst = np.append(_ABSENT, _WORST_LAST)[place]
        worst[there[_MISSING] & self.known] = _PARTIAL
        return np.asarray(worst, np.int16)


def no_sums(size: int) -> FlowSums:
    """Start with nothing."""
    return FlowSums(np.zeros((4, size), np.int64), np.zeros((5, size), np.int64), np.zeros(size, np.int64))


def add_register(sums: FlowSums, intervals: Intervals, expected: Mask) -> None:
    """Add a register to a flow, in place. What the ledger does not hold although it was expected is missing."""
    qualities = np.where(expected, np.where(intervals.qualities == _ABSENT, _MISSING, intervals.qualities), _ABSENT)
    for code in range(_MISSING):
        chosen = qualities == code
        sums.amounts_micro[code] += np.where(chosen, intervals.amounts_micro, 0)
        sums.counts[code] += chosen
    sums.counts[_MISSING] += qualities == _MISSING
    sums.complete[:] += np.where(qualities < _MISSING, intervals.completenesses, 0)


def select(sums: FlowSums, chosen: Mask) -> FlowSums:
    """Keep only some intervals; nothing is expected in the others."""
    return FlowSums(sums.amounts_micro * chosen, sums.counts * chosen, sums.complete * chosen)


def figures(sums: FlowSums, durations_ms: Int64s, starts: Int64s) -> list[Figure]:
    """Sum up the stretches that begin at the intervals `starts`; each goes on to the next, the last to the end."""
    if not len(starts):
        return []
    amounts = np.add.reduceat(sums.amounts_micro, starts, axis=1)
    times = np.add.reduceat(sums.counts * durations_ms, starts, axis=1)
    complete = np.add.reduceat(sums.complete * durations_ms, starts)
    meters = np.maximum.reduceat(sums.expected, starts)
    columns = (*amounts, times.sum(axis=0), complete // COMPLETE, *times[1:], meters)
    return [Figure(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def figure(sums: FlowSums, durations_ms: Int64s) -> Figure:
    """Sum up the whole grid."""
    parts = figures(sums, durations_ms, np.zeros(min(1, len(durations_ms)), np.int64))
    return parts[0] if parts else Figure()


def add_figures(parts: Iterable[Figure]) -> Figure:
    """Add up figures of different registers over the same stretch."""
    names = Figure.__slots__
    rows = [[getattr(part, name) for name in names] for part in parts]
    return Figure(*(sum(column) for column in zip(*rows, strict=True))) if rows else Figure()


def residuals(flows: Mapping[Flow, FlowSums], durations_ms: Int64s, starts: Int64s) -> list[Residual]:
    """Sum up what no sub-meter counts, over the intervals in which every flow of the balance is known in full."""
    if Flow.SUBS not in flows or not len(starts):
        return []
    signs = {Flow.PARENTS: 1, Flow.EXPORT: -1, Flow.GENERATION: 1, Flow.DISCHARGE: 1, Flow.CHARGE: -1, Flow.SUBS: -1}
    amounts = np.zeros(len(durations_ms), np.int64)
    full = np.ones(len(durations_ms), np.bool_)
    expected = np.zeros(len(durations_ms), np.bool_)
    for flow, sign in signs.items():
        if flow in flows:
            amounts += sign * flows[flow].total_micro
            full &= flows[flow].qualities < _PARTIAL if flow == Flow.PARENTS else _not_lacking(flows[flow])
            expected |= flows[flow].expected > 0
    known = full & expected
    sums = np.add.reduceat(amounts * known, starts).tolist()
    times = (np.add.reduceat(durations_ms * mask, starts).tolist() for mask in (known, expected))
    return [
        Residual(total if known_ms else None, known_ms, expected_ms)
        for total, known_ms, expected_ms in zip(sums, *times, strict=True)
    ]


def _not_lacking(sums: FlowSums) -> Mask:
    return np.asarray((sums.counts[_PARTIAL] == 0) & (sums.counts[_MISSING] == 0))


def add_residuals(parts: Sequence[Residual]) -> Residual | None:
    """Add up the residuals of several stretches or sites; None when there is none."""
    if not parts:
        return None
    known = [part.amount_micro for part in parts if part.amount_micro is not None]
    return Residual(
        sum(known) if known else None, sum(part.known_ms for part in parts), sum(part.expected_ms for part in parts)
    )


def durations_ms(grid: Grid) -> Int64s:
    """Return the length of each interval."""
    return np.diff(grid.bounds_ms)


def bucket_starts(grid: Grid, step: Step) -> Int64s:
    """Return at which intervals the buckets of a step begin."""
    if step is Step.INTERVAL:
        return np.arange(len(grid), dtype=np.int64)
    if not len(grid):
        return np.zeros(0, np.int64)
    days, places = np.unique(grid.day, return_inverse=True)
    labels = np.array([_label(date_of_number(int(day)), step).toordinal() for day in days])[places]
    return np.flatnonzero(np.diff(labels, prepend=labels[0] - 1)).astype(np.int64)


def first_day_of(day: date, step: Step, first: date) -> date:
    """Return the first local day of the bucket that a day lies in, within a range that begins at `first`."""
    return max(_label(day, step), first)


def last_day_of(day: date, step: Step, last: date) -> date:
    """Return the last local day of the bucket that a day lies in, within a range that ends with `last`."""
    return min(_LAST[step](day), last)


def _label(day: date, step: Step) -> date:
    return _FIRST[step](day)


def _last_of_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


_FIRST: Mapping[Step, Callable[[date], date]] = {
    Step.INTERVAL: lambda day: day,
    Step.DAY: lambda day: day,
    Step.WEEK: lambda day: day - timedelta(days=day.weekday()),
    Step.MONTH: lambda day: day.replace(day=1),
    Step.YEAR: lambda day: day.replace(month=1, day=1),
}
_LAST: Mapping[Step, Callable[[date], date]] = {
    Step.INTERVAL: lambda day: day,
    Step.DAY: lambda day: day,
    Step.WEEK: lambda day: day + timedelta(days=6 - day.weekday()),
    Step.MONTH: _last_of_month,
    Step.YEAR: lambda day: day.replace(month=12, day=31),
}

"""The steps from what is measured to what goes into the ledger, one after the other on a draft. Pure.

Every step keeps the sum that the register gives: it moves energy in time, or (after the last reading, and where a
person says so) puts in what no register has told yet. `check_sum` watches over it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np

from cloud_hub.calendar.days import Grid
from cloud_hub.energy.estimation import Estimator, forward_estimates, shape_gap, spread_evenly
from cloud_hub.energy.model import (
    Cause,
    Edit,
    Finding,
    FindingKind,
    Gap,
    Int16s,
    Int32s,
    Int64s,
    IntervalQuality,
    Intervals,
    Method,
)
from cloud_hub.energy.rules import DayUse
from cloud_hub.energy.validation import Bools, DaySpan


@dataclass(frozen=True, slots=True)
class Draft:
    """Columns of a grid's intervals, changed in place, and what was found."""

    grid: Grid
    amounts_micro: Int64s
    qualities: Int16s
    completenesses: Int16s
    causes: Int32s
    methods: Int16s
    findings: list[Finding]
    unbound: Bools
    """Intervals whose amounts are tied to no sum of the register that lies within the grid."""

    @property
    def intervals(self) -> Intervals:
        """The columns as they go on."""
        return Intervals(self.amounts_micro, self.qualities, self.completenesses, self.causes)

    def rows(self, from_ms: int, to_ms: int) -> slice:
        """Return the intervals that `[from_ms, to_ms)` touches."""
        bounds = self.grid.bounds_ms
        first = int(np.searchsorted(bounds, from_ms, side="right")) - 1
        return slice(max(0, first), min(len(self.grid), int(np.searchsorted(bounds, to_ms))))


def make_draft(grid: Grid, measured: Intervals, causes: Int32s, findings: Sequence[Finding]) -> Draft:
    """Begin with what is measured, and with what the checks made of it."""
    linear = measured.qualities == IntervalQuality.ESTIMATED
    return Draft(
        grid,
        measured.amounts_micro.copy(),
        measured.qualities.copy(),
        measured.completenesses.copy(),
        measured.causes | causes,
        np.where(linear, np.int16(Method.LINEAR), np.int16(Method.NONE)),
        list(findings),
        np.zeros(len(grid), np.bool_),
    )


def mark_suspect(draft: Draft, spans: Sequence[tuple[int, int]]) -> None:
    """Mark the intervals in which readings wait for judgement, the last instant included."""
    for from_ms, to_ms in spans:
        draft.causes[draft.rows(from_ms, to_ms + 1)] |= np.int32(Cause.SUSPECT)


def reshape_gap(draft: Draft, gap: Gap, estimator: Estimator, ceiling_per_h: float) -> None:
    """Give a gap that is spread evenly the shape of reference days, where there are any."""
    shares = shape_gap(gap, estimator, ceiling_per_h)
    rows = draft.rows(gap.from_ms, gap.to_ms)
    if gap.from_ms < draft.grid.bounds_ms[0] or gap.to_ms > draft.grid.bounds_ms[-1]:
        draft.unbound[rows] = True
    if shares is None:
        return
    bounds = draft.grid.bounds_ms[rows.start : rows.stop + 1].tolist()
    even = spread_evenly(gap.amount_micro, bounds, gap.from_ms, gap.to_ms)
    draft.amounts_micro[rows] += [shares[start] - share for start, share in zip(bounds[:-1], even, strict=True)]
    _set_method(draft, rows, Method.REFERENCE_DAYS)


def _set_method(draft: Draft, rows: slice, method: Method) -> None:
    estimated = draft.qualities[rows] == IntervalQuality.ESTIMATED
    draft.methods[rows][estimated] = method


def spread_stuck(draft: Draft, run: Gap, estimator: Estimator, ceiling_per_h: float) -> None:
    """Spread what a frozen register caught up with over the time in which it stood still."""
    rows = draft.rows(run.from_ms, run.to_ms)
    bounds = draft.grid.bounds_ms[rows.start : rows.stop + 1].tolist()
    shares = shape_gap(run, estimator, ceiling_per_h)
    if shares is None:
        draft.amounts_micro[rows] = spread_evenly(run.amount_micro, bounds, run.from_ms, run.to_ms)
    else:
        draft.amounts_micro[rows] = [shares[start] for start in bounds[:-1]]
    draft.qualities[rows] = IntervalQuality.ESTIMATED
    draft.completenesses[rows] = 0
    draft.methods[rows] = Method.LINEAR if shares is None else Method.REFERENCE_DAYS


def estimate_forward(draft: Draft, silent_since_ms: int, days: int, estimator: Estimator) -> None:
    """Put what is usual into the intervals after the last reading, until the register tells."""
    added, to = forward_estimates(draft.grid, draft.intervals, silent_since_ms, days, estimator)
    draft.amounts_micro[to] += added[to]
    draft.qualities[to] = IntervalQuality.ESTIMATED
    draft.methods[to] = Method.REFERENCE_DAYS
    draft.unbound[to] = True


def compare_use(
    draft: Draft, span: DaySpan, total_micro: int, before: Sequence[int], check: tuple[DayUse, Cause, FindingKind]
) -> None:
    """Compare a day's use with that of the same weekdays before. Source: rules.toml."""
    rule, cause, kind = check
    usual = sum(before)
    if len(before) < rule.weeks_min or usual <= 0:
        return
    times = total_micro * len(before) / usual
    if times <= rule.ratio if cause is Cause.HIGH_USE else times >= rule.ratio:
        return
    if abs(total_micro - mean(before)) <= rule.deviations * stdev(before):
        return
    draft.causes[span.first : span.end] |= np.int32(cause)
    bounds = draft.grid.bounds_ms
    detail = {"amount_micro": total_micro, "usual_micro": usual // len(before)}
    draft.findings.append(Finding(kind, int(bounds[span.first]), int(bounds[span.end]), detail))


def check_sum(draft: Draft, registered: Int64s, span: tuple[int, int]) -> None:
    """Report a sum that is not the register's. It cannot happen; if it did, it must not go unseen."""
    kept = ~draft.unbound
    missed = int(draft.amounts_micro[kept].sum()) - int(registered[kept].sum())
    if missed:
        draft.findings.append(Finding(FindingKind.SUM_CHECK, *span, {"missed_micro": missed}))


def edit(draft: Draft, edits: Sequence[Edit]) -> None:
    """Put what a person said in place of what was computed. Of an interval edited in part, the rest stays.

    An edit made for shorter intervals than those of the grid may end inside one.
    """
    for one in edits:
        rows = draft.rows(one.from_ms, one.to_ms)
        bounds = draft.grid.bounds_ms[rows.start : rows.stop + 1].tolist()
        if len(bounds) < 2:
            continue
        shares = spread_evenly(one.amount_micro, bounds, one.from_ms, one.to_ms)
        kept = [
            amount * (end - start - max(0, min(end, one.to_ms) - max(start, one.from_ms))) // (end - start)
            for amount, start, end in zip(draft.amounts_micro[rows].tolist(), bounds, bounds[1:], strict=False)
        ]
        draft.amounts_micro[rows] = [share + rest for share, rest in zip(shares, kept, strict=True)]
        draft.qualities[rows] = IntervalQuality.EDITED
        draft.methods[rows] = Method.MANUAL
        draft.causes[rows] |= np.int32(Cause.EDIT)

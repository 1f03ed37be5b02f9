"""From readings to what goes into the ledger: measure, validate, estimate, edit. Pure.

A result depends on the readings alone, not on when they arrived nor on how much is computed at once:

- what the register says of an interval depends on the few readings beside it (`cloud_hub.energy.measuring`);
- validation looks at what the register says within `REACH_MS` before and after;
- an estimate and a comparison with like days look back `REFERENCE_DAYS` before them, at measured intervals only.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from cloud_hub.calendar.days import Grid, day_number, local_date_of_ms
from cloud_hub.energy.estimation import Estimator, is_waiting
from cloud_hub.energy.measuring import measure
from cloud_hub.energy.model import (
    MICRO,
    Computed,
    Direction,
    Edit,
    Exchange,
    Finding,
    FindingKind,
    Gap,
    IntervalQuality,
    Intervals,
    Measured,
    Register,
)
from cloud_hub.energy.plausibility import Limits
from cloud_hub.energy.reference import (
    REFERENCE_DAYS,
    Choice,
    LookUp,
    ReferenceDays,
    make_reference,
    merge,
    same_weekday_totals,
)
from cloud_hub.energy.rules import Ruleset
from cloud_hub.energy.settling import (
    Draft,
    check_sum,
    compare_use,
    edit,
    estimate_forward,
    make_draft,
    mark_suspect,
    reshape_gap,
    spread_stuck,
)
from cloud_hub.energy.validation import (
    REACH_MS,
    DaySpan,
    Judged,
    days_of,
    days_to_compare,
    use_checks,
    validate,
)
from cloud_hub.readings.series import Series

__all__ = ["REACH_MS", "Context", "compute", "cut", "gap_days", "limits_of", "settle", "touches"]

_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known beside the readings."""

    zone: ZoneInfo
    interval_s: int
    ruleset: Ruleset
    written: tuple[int, int] | None = None
    """First and last day that the caller will write, as days since 1970-01-01; None for all."""
    look_up: LookUp | None = None
    """Called only when there is something to estimate or to compare, at most once, for days before the first that
    is written: measured amounts as they are in the ledger (`reference.make_reference`). Days that are written now
    serve as references of later ones by themselves."""
    holidays: Collection[int] = frozenset()
    """Days since 1970-01-01."""
    edits: Sequence[Edit] = ()
    """They may begin and end outside the grid."""
    suspect: Sequence[tuple[int, int]] = ()
    """Spans of readings that wait for judgement: first and last instant in milliseconds, both included."""


def compute(
    series: Series, registers: Sequence[Register], exchanges: Sequence[Exchange], grid: Grid, context: Context
) -> Computed:
    """Compute the intervals of `grid`, all of which have ended (see `cut`).

    `series`: readings as `cloud_hub.energy.measuring.measure` wants them, without suspect ones and those before
    commissioning. `grid`: begins at a local midnight, and holds `REACH_MS` more on both sides than what is written.
    The columns are as long as the grid, but only the days of `context.written` are right: the others are there to
    be looked at. Findings are those that touch the written days.

    A gap is shaped as a whole, however much of it is written. So where it is found to be another gap than before,
    write all its days: `gap_days` says which.
    """
    measured = measure(series, registers, exchanges, grid, limits=limits_of(context))
    valued = series.observed_at_ms[np.isfinite(series.value)]
    return settle(measured, registers, grid, context, silent_since_ms=int(valued[-1]) if len(valued) else None)


def limits_of(context: Context) -> Limits:
    """Return what measuring takes for granted under a ruleset."""
    gap_limit_ms = context.ruleset.gap.intervals * context.interval_s * 1000
    return Limits(gap_limit_ms=gap_limit_ms, max_rate_per_h=context.ruleset.max_rate_per_h)


def settle(
    measured: Measured, registers: Sequence[Register], grid: Grid, context: Context, *, silent_since_ms: int | None
) -> Computed:
    """Validate, estimate and edit what is measured. `silent_since_ms`: the last reading of all, None without any."""
    judged = _judge(measured.intervals, registers, grid, context.ruleset)
    days = days_of(grid, context.written)
    doubts = validate(judged, context.ruleset, days)
    draft = make_draft(grid, measured.intervals, doubts.causes, (*measured.findings, *doubts.findings))
    findings: tuple[Finding, ...] = ()
    if days:
        span = int(grid.bounds_ms[days[0].first]), int(grid.bounds_ms[days[-1].end])
        mark_suspect(draft, context.suspect)
        work = _work_for(measured.gaps, judged, doubts.stuck, days, context, silent_since_ms=silent_since_ms)
        if work.is_needed:
            _do(work, draft, registers, days, context)
        if context.ruleset.sum_check.action != "off":
            check_sum(draft, measured.intervals.amounts_micro, span)
        edit(draft, context.edits)
        findings = _in_order(draft.findings, *span)
    return Computed(measured.intervals, draft.intervals, draft.methods, findings)


def cut(grid: Grid, until_ms: int) -> Grid:
    """Return the intervals of a grid that have ended at `until_ms`."""
    count = max(0, int(np.searchsorted(grid.bounds_ms, until_ms, side="right")) - 1)
    return Grid(grid.bounds_ms[: count + 1], grid.day[:count], grid.slot[:count])


def touches(finding: Finding, from_ms: int, to_ms: int) -> bool:
    """Say whether a finding belongs to the time `[from_ms, to_ms)`: it may begin before and end after."""
    return finding.from_ms < to_ms and (finding.to_ms > from_ms or finding.from_ms >= from_ms)


def gap_days(findings: Sequence[Finding], zone: ZoneInfo, written: tuple[int, int]) -> tuple[int, int]:
    """Return the first and last day to be written so that every gap among the findings is written as a whole."""
    first, last = written
    for finding in findings:
        if finding.kind is FindingKind.GAP:
            first = min(first, day_number(local_date_of_ms(finding.from_ms, zone)))
            last = max(last, day_number(local_date_of_ms(max(finding.from_ms, finding.to_ms - 1), zone)))
    return first, last


def _in_order(findings: list[Finding], from_ms: int, to_ms: int) -> tuple[Finding, ...]:
    """Keep the findings that touch a time, one of a kind and beginning, ordered."""
    ordered = sorted(findings, key=lambda one: (one.from_ms, one.kind, one.to_ms))
    kept = {(one.kind, one.from_ms): one for one in reversed(ordered) if touches(one, from_ms, to_ms)}
    return tuple(sorted(kept.values(), key=lambda one: (one.from_ms, one.kind)))


def _judge(intervals: Intervals, registers: Sequence[Register], grid: Grid, ruleset: Ruleset) -> Judged:
    """Say of each interval what its register can count, and in which direction."""
    limit = np.full(len(grid), _limit_per_h(None, ruleset))
    consumes, both_ways = np.ones(len(grid), np.bool_), np.zeros(len(grid), np.bool_)
    starts = grid.bounds_ms[:-1]
    for register in registers:
        first = 0 if register.from_ms is None else int(np.searchsorted(starts, register.from_ms))
        end = len(grid) if register.until_ms is None else int(np.searchsorted(starts, register.until_ms))
        limit[first:end] = _limit_per_h(register, ruleset)
        consumes[first:end] = register.direction is Direction.IMPORT
        both_ways[first:end] = register.direction is Direction.NET
    return Judged(grid, intervals, limit * np.diff(grid.bounds_ms) / _HOUR_MS, consumes, both_ways)


def _limit_per_h(register: Register | None, ruleset: Ruleset) -> float:
    """Return the most that can be counted, in micro units per hour; infinite where nothing is known."""
    own = None if register is None else register.max_rate_per_h
    rate = ruleset.max_rate_per_h if own is None else own
    return np.inf if rate is None else float(rate) * MICRO


@dataclass(frozen=True, slots=True)
class _Work:
    """What there is to estimate and to compare."""

    gaps: list[Gap]
    stuck: list[Gap]
    silent_since_ms: int | None
    compared: list[DaySpan]

    @property
    def is_needed(self) -> bool:
        return bool(self.gaps or self.stuck or self.compared or self.silent_since_ms is not None)

    def first_day(self, context: Context) -> int:
        """Return the earliest day that is looked back from."""
        instants = [gap.from_ms for gap in (*self.gaps, *self.stuck)]
        instants += [] if self.silent_since_ms is None else [self.silent_since_ms]
        days = [day_number(local_date_of_ms(at_ms, context.zone)) for at_ms in instants]
        return min([*days, *(span.day for span in self.compared)])


def _work_for(
    gaps: Sequence[Gap],
    judged: Judged,
    stuck: list[tuple[int, int]],
    days: list[DaySpan],
    context: Context,
    *,
    silent_since_ms: int | None,
) -> _Work:
    bounds, rules = judged.grid.bounds_ms, context.ruleset
    start, end = int(bounds[days[0].first]), int(bounds[days[-1].end])
    amounts = judged.intervals.amounts_micro
    runs = [Gap(int(bounds[a]), int(bounds[b]), int(amounts[a:b].sum())) for a, b in stuck]
    long = [gap for gap in gaps if gap.to_ms - gap.from_ms > rules.estimation.linear_h * _HOUR_MS]
    forward_ms = rules.estimation.forward_days * _DAY_MS
    is_silent = silent_since_ms is not None and int(bounds[-1]) - silent_since_ms > limits_of(context).gap_limit_ms
    if silent_since_ms is not None and is_silent:
        near = is_waiting(judged.intervals) & (bounds[:-1] < silent_since_ms + forward_ms)
        is_silent = bool(near[days[0].first : days[-1].end].any())
    return _Work(
        [gap for gap in long if gap.amount_micro > 0 and gap.from_ms < end and gap.to_ms > start],
        [run for run in runs if run.from_ms < end and run.to_ms > start],
        silent_since_ms if is_silent else None,
        days_to_compare(judged, rules, days, frozenset(context.holidays)),
    )


def _do(work: _Work, draft: Draft, registers: Sequence[Register], days: list[DaySpan], context: Context) -> None:
    holidays, rules = frozenset(context.holidays), context.ruleset.estimation
    own = _own_days(draft, days, context)
    reference = own
    if context.look_up is not None:
        first = work.first_day(context) - REFERENCE_DAYS
        reference = merge(context.look_up(first, days[0].day - 1), own)
    choice = Choice(rules.references_min, rules.references_max, holidays)
    estimator = Estimator(context.zone, context.interval_s, reference, choice)
    for gap in work.gaps:
        reshape_gap(draft, gap, estimator, _ceiling(registers, gap.from_ms, context.ruleset))
    for run in work.stuck:
        spread_stuck(draft, run, estimator, _ceiling(registers, run.from_ms, context.ruleset))
    if work.silent_since_ms is not None:
        estimate_forward(draft, work.silent_since_ms, rules.forward_days, estimator)
    for span in work.compared:
        total = int(own.amounts_micro[np.searchsorted(own.days, span.day)].sum())
        for check in use_checks(context.ruleset):
            before = same_weekday_totals(reference, day=span.day, weeks=check[0].weeks, holidays=holidays)
            compare_use(draft, span, total, before, check)


def _own_days(draft: Draft, days: list[DaySpan], context: Context) -> ReferenceDays:
    """Return what the written days can be to each other, and without a look-up all days of the grid.

    Taken before anything is estimated. What a person has edited is no reference.
    """
    first, end = (0, len(draft.grid)) if context.look_up is None else (days[0].first, days[-1].end)
    qualities = draft.qualities.copy()
    for one in context.edits:
        qualities[draft.rows(one.from_ms, one.to_ms)] = IntervalQuality.EDITED
    here = slice(first, end)
    return make_reference(
        draft.grid.day[here],
        draft.grid.slot[here],
        draft.amounts_micro[here],
        qualities[here],
        draft.causes[here],
        interval_s=context.interval_s,
    )


def _ceiling(registers: Sequence[Register], at_ms: int, ruleset: Ruleset) -> float:
    """Return the most that can be counted from an instant on, in micro units per hour."""
    for register in reversed(registers):
        begun = register.from_ms is None or register.from_ms <= at_ms
        if begun and (register.until_ms is None or at_ms < register.until_ms):
            return _limit_per_h(register, ruleset)
    return _limit_per_h(None, ruleset)

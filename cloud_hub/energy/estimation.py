"""Spreading energy over time that the readings do not place there. Pure, in whole millionths.

The ladder (VEE practice): up to two hours evenly; longer like reference days, scaled so that the sum is what the
register went on by; evenly where there are none. After the last reading like reference days as they were, for a
few days, until the register tells. What is nowhere known stays missing: nothing is invented.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.days import Grid, day_number, local_date_of_ms, make_grid
from cloud_hub.energy.model import Cause, Gap, Int64s, IntervalQuality, Intervals
from cloud_hub.energy.reference import Choice, DayType, ReferenceDays, day_types, typical_amounts

_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Estimator:
    """What estimates are made of."""

    zone: ZoneInfo
    interval_s: int
    reference: ReferenceDays
    choice: Choice


def spread_evenly(amount: int, bounds_ms: Sequence[int], from_ms: int, to_ms: int) -> list[int]:
    """Return what each interval gets of an amount spread evenly over `[from_ms, to_ms)`.

    The shares of intervals that cover all of it add up to the amount exactly. What has passed at a border is
    rounded down, as `cloud_hub.energy.measuring` does: so that a gap can be taken out of its intervals again.
    """
    counted = [amount * (min(max(bound, from_ms), to_ms) - from_ms) // (to_ms - from_ms) for bound in bounds_ms]
    return [after - before for before, after in pairwise(counted)]


def spread_like(amount: int, weights: Sequence[int]) -> list[int] | None:
    """Return the shares of an amount in proportion to weights, by largest remainder: they add up to it exactly.

    None where the weights say nothing: all zero, or some below zero.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        return None
    shares = [amount * weight // whole for weight in weights]
    rests = [amount * weight % whole for weight in weights]
    for index in sorted(range(len(weights)), key=lambda i: (-rests[i], i))[: amount - sum(shares)]:
        shares[index] += 1
    return shares


def shape_gap(gap: Gap, estimator: Estimator, ceiling_per_h: float) -> dict[int, int] | None:
    """Return the energy of a gap by the start of each interval it touches, shaped like reference days.

    None where there are too few reference days, or where their shape would take more than `ceiling_per_h` (micro
    units per hour) in any interval: then the gap was no day like them.
    """
    first, last = (local_date_of_ms(at_ms, estimator.zone) for at_ms in (gap.from_ms, gap.to_ms - 1))
    grid = make_grid(first, last, estimator.zone, estimator.interval_s)
    bounds = grid.bounds_ms.tolist()
    covers = [max(0, min(end, gap.to_ms) - max(start, gap.from_ms)) for start, end in pairwise(bounds)]
    usual, known = typical_intervals(grid, int(grid.day[0]), estimator)
    if not known[np.array(covers) > 0].all():
        return None
    length_ms = estimator.interval_s * 1000
    weights = [amount * cover // length_ms for amount, cover in zip(usual.tolist(), covers, strict=True)]
    shares = spread_like(gap.amount_micro, weights)
    if shares is None or any(
        share * _HOUR_MS > ceiling_per_h * cover for share, cover in zip(shares, covers, strict=True) if share
    ):
        return None
    return {start: share for start, share, cover in zip(bounds, shares, covers, strict=False) if cover}


def typical_intervals(grid: Grid, before: int, estimator: Estimator) -> tuple[Int64s, NDArray[np.bool_]]:
    """Return what is usual for each interval of a grid, and where that is known, from before the day `before`."""
    usual, known = np.zeros(len(grid), np.int64), np.zeros(len(grid), np.bool_)
    types = day_types(grid.day, estimator.choice.holidays)
    columns = grid.slot.astype(np.int64) * 60 // estimator.interval_s
    for day_type in DayType:
        rows = np.flatnonzero(types == day_type)
        if len(rows):
            amounts, there = typical_amounts(
                estimator.reference, before=before, day_type=day_type, choice=estimator.choice
            )
            usual[rows], known[rows] = amounts[columns[rows]], there[columns[rows]]
    return usual, known


def forward_estimates(
    grid: Grid, intervals: Intervals, silent_since_ms: int, forward_days: int, estimator: Estimator
) -> tuple[Int64s, NDArray[np.bool_]]:
    """Return what to add to each interval after the last reading, and to which.

    `silent_since_ms`: the last reading. The interval that it lies in gets the part that is missing.
    """
    first_day = day_number(local_date_of_ms(silent_since_ms, estimator.zone))
    usual, known = typical_intervals(grid, first_day, estimator)
    starts, ends = grid.bounds_ms[:-1], grid.bounds_ms[1:]
    silent_ms = np.clip(ends - silent_since_ms, 0, ends - starts)
    near = starts < silent_since_ms + forward_days * _DAY_MS
    added = is_waiting(intervals) & near & known & (silent_ms > 0)
    quotient, rest = np.divmod(usual, estimator.interval_s * 1000)
    parts = quotient * silent_ms + rest * silent_ms // (estimator.interval_s * 1000)  # stays within 64 bits
    return np.where(added, parts, 0), added


def is_waiting(intervals: Intervals) -> NDArray[np.bool_]:
    """Say of each interval whether it waits for the next reading, and for nothing else.

    Of one in which the register was reset as well, no reading to come tells the whole.
    """
    open_ended = np.isin(intervals.qualities, (IntervalQuality.MISSING, IntervalQuality.PARTIAL))
    hopeless = int(Cause.RESET | Cause.JUMP)
    told = (intervals.causes & (int(Cause.NO_DATA) | hopeless)) == int(Cause.NO_DATA)
    waiting: NDArray[np.bool_] = open_ended & told
    return waiting

"""From a register's readings to amounts per interval: what the register alone says. Pure.

The register is interpolated at the borders of intervals, so that every millionth of a segment (`chain`) is in some
interval and in one only. An interval depends on the segments that touch it, each of those on `READINGS_BESIDE`
readings on each side: so results do not depend on where the loaded window begins.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.days import Grid
from cloud_hub.energy.chain import Chain, Kind, make_chain
from cloud_hub.energy.intake import prepare
from cloud_hub.energy.model import (
    COMPLETE,
    Cause,
    Exchange,
    Finding,
    Gap,
    Int64s,
    IntervalQuality,
    Intervals,
    Measured,
    Register,
)
from cloud_hub.energy.plausibility import Limits
from cloud_hub.energy.scaling import COARSE_STEPS
from cloud_hub.readings.series import Series

READINGS_BESIDE = 16
"""So many readings with a value beyond each end of the grid, and all within four intervals, decide what lies in it.

A reading is judged by K = `Limits.glitch_samples` on each side, twice; up to K may be dropped before one is believed;
what is credited after a reset is compared with K steps beside it; and a few may be told twice.
"""

_PRODUCT_SAFE_MS = 3_037_000_499
"""The square root of 2**63: 35 days. Longer segments are divided with Python's unbounded integers."""


def measure(
    series: Series, registers: Sequence[Register], exchanges: Sequence[Exchange], grid: Grid, *, limits: Limits
) -> Measured:
    """Measure what a register counted in each interval of a grid that is all in the past.

    `series` is ordered by time and holds at least `READINGS_BESIDE` readings with a value beyond each end of the
    grid, where there are any; `exchanges` holds all in that range. Readings at one instant may come in any order.
    """
    chain = make_chain(prepare(series, registers, exchanges, limits), limits)
    bounds = grid.bounds_ms
    return Measured(_spread(chain, bounds), _gaps(chain, bounds), _findings(chain, bounds))


def _spread(chain: Chain, bounds: Int64s) -> Intervals:
    """Cut the segments at the borders of the intervals."""
    count = len(bounds) - 1
    causes = np.zeros(count, dtype=np.int32)
    if not len(chain.at_ms):
        none = np.zeros(count, dtype=np.int16)
        absent = np.full(count, IntervalQuality.ABSENT, dtype=np.int16)
        return Intervals(np.zeros(count, dtype=np.int64), absent, none, causes)
    place = np.searchsorted(chain.at_ms, bounds, side="right") - 1
    amounts = np.diff(_counted(chain, bounds, place))
    _mark_causes(causes, chain, bounds)
    _mark_coarse(causes, chain, place, amounts)
    if place[0] >= 0 and place[-1] < len(chain.at_ms) - 1 and not chain.kinds[place[0] : place[-1] + 1].any():
        complete = np.full(count, COMPLETE, dtype=np.int16)
        return Intervals(amounts, np.zeros(count, dtype=np.int16), complete, causes)
    qualities, completenesses = _judge_intervals(chain, bounds, place, causes)
    amounts[qualities >= IntervalQuality.MISSING] = 0
    return Intervals(amounts, qualities, completenesses, causes)


def _counted(chain: Chain, bounds: Int64s, place: NDArray[np.intp]) -> Int64s:
    """Return what was counted since the first reading at each border: 0 before it, all of it after the last."""
    totals = np.concatenate([[0], np.cumsum(chain.amounts_micro)])
    counted = totals[np.clip(place, 0, len(totals) - 1)]
    inside = (place >= 0) & (place < len(totals) - 1)
    within = place[inside]
    if len(within):
        elapsed = chain.at_ms[within + 1] - chain.at_ms[within]
        counted[inside] += _share(chain.amounts_micro[within], bounds[inside] - chain.at_ms[within], elapsed)
    return counted


def _share(amounts: Int64s, passed: Int64s, elapsed: Int64s) -> Int64s:
    """Return amount x passed / elapsed, rounded down, exactly, without leaving 64 bits."""
    quotient, rest = np.divmod(amounts, elapsed)
    shares = quotient * passed + rest * passed // elapsed
    for index in np.flatnonzero(elapsed > _PRODUCT_SAFE_MS).tolist():
        shares[index] = int(amounts[index]) * int(passed[index]) // int(elapsed[index])
    return shares


def _judge_intervals(
    chain: Chain, bounds: Int64s, place: NDArray[np.intp], causes: NDArray[np.int32]
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return qualities and completenesses, by how much of each interval's time is known how well."""
    length = np.diff(bounds)
    before = np.clip(chain.at_ms[0] - bounds[:-1], 0, length)
    after = np.clip(bounds[1:] - chain.at_ms[-1], 0, length)
    gap, lower, unknown = (_time_of(chain, kind, bounds, place) for kind in (Kind.GAP, Kind.LOWER_BOUND, Kind.UNKNOWN))
    causes[after > 0] |= Cause.NO_DATA
    qualities = np.select(
        [before == length, before + after + unknown == length, before + after + unknown + lower > 0, gap > 0],
        [IntervalQuality.ABSENT, IntervalQuality.MISSING, IntervalQuality.PARTIAL, IntervalQuality.ESTIMATED],
        IntervalQuality.MEASURED,
    ).astype(np.int16)
    known = length - before - after - gap - lower - unknown
    return qualities, (known * COMPLETE // length).astype(np.int16)


def _time_of(chain: Chain, kind: Kind, bounds: Int64s, place: NDArray[np.intp]) -> Int64s:
    """Return how many milliseconds of each interval lie in segments of a kind."""
    of_kind = chain.kinds == kind
    if not of_kind.any():
        return np.zeros(len(bounds) - 1, dtype=np.int64)
    totals = np.concatenate([[0], np.cumsum(np.where(of_kind, np.diff(chain.at_ms), 0))])
    time = totals[np.clip(place, 0, len(totals) - 1)]
    inside = (place >= 0) & (place < len(of_kind))
    within = place[inside]
    time[inside] += np.where(of_kind[within], bounds[inside] - chain.at_ms[within], 0)
    return np.diff(time)


def _mark_causes(causes: NDArray[np.int32], chain: Chain, bounds: Int64s) -> None:
    """Give each interval the causes of the segments that touch it."""
    marked = np.flatnonzero(chain.causes)
    if not len(marked):
        return
    marked = marked[(chain.at_ms[marked + 1] > bounds[0]) & (chain.at_ms[marked] < bounds[-1])]
    marked = marked[chain.at_ms[marked + 1] > chain.at_ms[marked]]
    first = np.maximum(np.searchsorted(bounds, chain.at_ms[marked], side="right") - 1, 0)
    last = np.minimum(np.searchsorted(bounds, chain.at_ms[marked + 1], side="left"), len(causes))
    for bit in Cause:
        with_bit = (chain.causes[marked] & bit) != 0
        if with_bit.any():
            begun = np.bincount(first[with_bit], minlength=len(causes) + 1)
            ended = np.bincount(last[with_bit], minlength=len(causes) + 1)
            causes[np.cumsum(begun - ended)[: len(causes)] > 0] |= bit


def _mark_coarse(causes: NDArray[np.int32], chain: Chain, place: NDArray[np.intp], amounts: Int64s) -> None:
    """Mark amounts of few steps of a single-precision register that is on the move."""
    coarse = np.where(chain.kinds == Kind.UNKNOWN, 0, chain.coarse_micro)  # where nothing is counted, nothing is coarse
    if not coarse.any():
        return
    steps = np.append(coarse, 0)[np.clip(place, -1, len(coarse))]  # 0 outside of the chain
    causes[abs(amounts) < COARSE_STEPS * np.maximum(steps[:-1], steps[1:])] |= Cause.RESOLUTION


def _gaps(chain: Chain, bounds: Int64s) -> tuple[Gap, ...]:
    gaps = np.flatnonzero(chain.kinds == Kind.GAP).tolist()
    spans = [(int(chain.at_ms[index]), int(chain.at_ms[index + 1]), int(chain.amounts_micro[index])) for index in gaps]
    return tuple(Gap(*span) for span in spans if span[1] > bounds[0] and span[0] < bounds[-1])


def _findings(chain: Chain, bounds: Int64s) -> tuple[Finding, ...]:
    """Return what happened in the grid, in order; what only begins at its end belongs to the next."""
    touching = [
        finding
        for finding in chain.findings
        if finding.from_ms < bounds[-1] and (finding.to_ms > bounds[0] or finding.from_ms == bounds[0])
    ]
    return tuple(sorted(touching, key=lambda finding: (finding.from_ms, finding.kind, finding.to_ms)))

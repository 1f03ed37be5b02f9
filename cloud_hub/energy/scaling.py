"""From the unit of the readings to that of the amounts: exactly, also where the scale changes. Pure."""

import numpy as np

from cloud_hub.energy.model import MICRO, Int64s
from cloud_hub.energy.plausibility import Bools, Limits, Plausibility, Readings, Regime

COARSE_STEPS = 20
"""An amount of fewer steps of the register is known to no better than a twentieth."""
_SAFE = 2**62
"""Products below it, and twice their remainders, fit into 64 bits; others are left to Python's integers."""


def split_at_scales(readings: Readings, limits: Limits) -> Readings:
    """Read the register, by interpolation, where its scale changes: each side counts with its own."""
    changes = np.flatnonzero(np.diff(readings.regime))
    if not len(changes):
        return readings
    way, possible = Plausibility(readings, limits).progress(changes, changes + 1)
    possible &= (way == readings.micro[changes + 1] - readings.micro[changes]) & (np.diff(readings.at_ms)[changes] > 0)
    for index in changes[possible].tolist():
        before, after = int(readings.regime[index]), int(readings.regime[index + 1])
        if readings.regimes[before].scale == readings.regimes[after].scale:
            continue
        (start, end), (low, high) = (
            readings.at_ms[index : index + 2].tolist(),
            readings.micro[index : index + 2].tolist(),
        )
        instants = [readings.regimes[number].from_ms or 0 for number in range(before + 1, after + 1)]
        values = [low + (high - low) * (instant - start) // (end - start) for instant in instants]
        sides = [side for number in range(before + 1, after + 1) for side in (number - 1, number)]
        eras = [int(readings.era[index])] * len(sides)
        readings = readings.with_virtual(np.repeat(instants, 2).tolist(), np.repeat(values, 2).tolist(), eras, sides)
    # At one instant those of the earlier scale come first, whether read or interpolated.
    return readings.take(np.lexsort((readings.regime, readings.era, readings.at_ms)))


def plain_amounts(readings: Readings, plain: Bools) -> Int64s:
    """Scale the differences where the register simply went on. Scaled readings are subtracted, so sums are exact."""
    if len(readings.regimes) == 1:
        only = readings.regimes[0]
        largest = int(abs(readings.micro).max(initial=0)) * max(1, abs(only.numerator))
        if largest < _SAFE:
            return np.where(plain, np.diff(_scaled_column(readings.micro, only)), 0)
    amounts = np.zeros(len(plain), dtype=np.int64)
    for index in np.flatnonzero(plain).tolist():
        regime = readings.regimes[readings.regime[index]]
        low, high = readings.micro[index : index + 2].tolist()
        amounts[index] = regime.scaled(high) - regime.scaled(low)
    return amounts


def _scaled_column(micro: Int64s, regime: Regime) -> Int64s:
    """Do as `Regime.scaled`, for many."""
    if regime.denominator == 1:
        return np.asarray(micro * regime.numerator) if regime.numerator != 1 else micro
    quotient, rest = np.divmod(micro * regime.numerator, regime.denominator)
    half = 2 * rest == regime.denominator
    return np.asarray(quotient + ((2 * rest > regime.denominator) | (half & (quotient % 2 == 1))))


def coarse_steps(readings: Readings, limits: Limits) -> Int64s:
    """Return, per segment, one step of a single-precision register in micro of the amounts' unit.

    0 where the register is another, as some of the readings beside show, where it is at rest, and where it moves so
    fast that its steps do not matter.
    """
    count = max(0, len(readings) - 1)
    steps = np.zeros(count, dtype=np.int64)
    if not count or not readings.single.any():
        return steps
    reach = limits.glitch_samples
    first = np.maximum(np.arange(count) - reach, 0)
    last = np.minimum(np.arange(count) + reach + 1, count)
    others = np.concatenate([[0], np.cumsum(~readings.single)])
    spacing = np.spacing(abs(readings.micro[1:] / MICRO).astype(np.float32)).astype(np.float64) * MICRO
    moved = abs(readings.micro[last] - readings.micro[first])
    coarse = (others[last + 1] == others[first]) & (moved > 0) & (moved < COARSE_STEPS * spacing * (last - first))
    scales = np.array([abs(regime.numerator / regime.denominator) for regime in readings.regimes])
    steps[coarse] = np.rint(spacing * scales[readings.regime[1:]])[coarse]
    return steps

"""What a register can have done between two readings: gone on, rolled over, or neither. Pure.

Readings are whole millionths of their own unit here (`micro`), before any scale. A reading's regime is the register's
record that holds at its instant; its era counts the exchanges before it, and nothing is compared across eras.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from cloud_hub.energy.model import MICRO, Direction, Int64s, Register

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_MS_PER_H = 3_600_000
_MARGIN = Fraction(11, 10)
"""A meter may count a tenth faster than its rating says: fuses hold that much for hours."""
_TOP_SHARE = 10
"""Without a maximum rate, a rollover leads from the last tenth of the range to the first."""
_GRAINS = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
_MODULUS_MAX = 2**62
"""Beyond what a reading can be (`intake`): such a register never rolls over."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the arithmetic takes for granted of a series of readings."""

    gap_limit_ms: int
    """Two intervals: across longer stretches an interval's share is a guess."""
    max_rate_per_h: Decimal | None = None
    """For registers that name none, in the unit of the amounts; None when nothing is known."""
    glitch_samples: int = 3
    """How many readings on each side decide at least whether one is believed."""
    slack_ms: int = 30_000
    """How late an answer may be, and how rarely a meter may bring its register up to date."""


@dataclass(frozen=True, slots=True)
class Regime:
    """A register's record in whole numbers."""

    from_ms: int | None
    numerator: int
    denominator: int
    """The scale as a fraction."""
    modulus: int | None
    """The reading that is 0 again, in micro."""
    reach_per_ms: float
    """The most that can be counted, in micro of the reading per millisecond, margin included; may be infinite."""
    net: bool

    @property
    def scale(self) -> Fraction:
        """The scale, exactly."""
        return Fraction(self.numerator, self.denominator)

    def scaled(self, micro: int) -> int:
        """Return a reading in the unit of the amounts, in micro, rounded half to even."""
        return round(Fraction(micro * self.numerator, self.denominator))


def make_regimes(registers: Sequence[Register], limits: Limits) -> tuple[Regime, ...]:
    """Turn the records of a register into regimes, in the same order."""
    return tuple(_make_regime(register, limits) for register in registers)


def _make_regime(register: Register, limits: Limits) -> Regime:
    scale = Fraction(register.scale)
    rate = limits.max_rate_per_h if register.max_rate_per_h is None else register.max_rate_per_h
    reach = math.inf
    if rate is not None and scale:
        reach = float(Fraction(rate) / abs(scale) * MICRO * _MARGIN / _MS_PER_H)
    modulus = None if register.rollover is None else round(register.rollover * MICRO)
    if modulus is not None and not 0 < modulus < _MODULUS_MAX:
        modulus = None
    net = register.direction is Direction.NET
    return Regime(register.from_ms, scale.numerator, scale.denominator, modulus, reach, net)


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings with a value as equally long columns, by time and era."""

    at_ms: Int64s
    micro: Int64s
    clock_uncertain: Bools
    single: Bools
    """The value is a single-precision number, as far as one can see."""
    era: Int64s
    regime: Int64s
    """Index into `regimes`."""
    virtual: Bools
    """Entered by a person with an exchange, or interpolated where a scale changes: beyond doubt here."""
    regimes: tuple[Regime, ...]

    def __len__(self) -> int:
        return len(self.at_ms)

    def take(self, indices: Indices | Bools) -> "Readings":
        """Return some of the readings."""
        return Readings(
            self.at_ms[indices],
            self.micro[indices],
            self.clock_uncertain[indices],
            self.single[indices],
            self.era[indices],
            self.regime[indices],
            self.virtual[indices],
            self.regimes,
        )

    def with_virtual(
        self, at_ms: Sequence[int], micro: Sequence[int], era: Sequence[int], regime: Sequence[int]
    ) -> "Readings":
        """Return these and virtual ones behind them, out of order."""
        more = len(at_ms)
        return Readings(
            np.concatenate([self.at_ms, np.array(at_ms, dtype=np.int64)]),
            np.concatenate([self.micro, np.array(micro, dtype=np.int64)]),
            np.concatenate([self.clock_uncertain, np.zeros(more, dtype=np.bool_)]),
            np.concatenate([self.single, np.ones(more, dtype=np.bool_)]),
            np.concatenate([self.era, np.array(era, dtype=np.int64)]),
            np.concatenate([self.regime, np.array(regime, dtype=np.int64)]),
            np.concatenate([self.virtual, np.ones(more, dtype=np.bool_)]),
            self.regimes,
        )


def plain_steps(readings: Readings, limits: Limits) -> Bools:
    """Say of each reading but the last whether the register simply went on from it to the next. Quick and strict."""
    elapsed, delta = np.diff(readings.at_ms), np.diff(readings.micro)
    if len(readings.regimes) == 1:
        only = readings.regimes[0]
        plain = (elapsed > 0) & (abs(delta) <= only.reach_per_ms * (elapsed + limits.slack_ms))
        if not only.net:
            plain &= delta >= 0
    else:
        later = readings.regime[1:]
        reach = np.array([regime.reach_per_ms for regime in readings.regimes])[later]
        net = np.array([regime.net for regime in readings.regimes])[later]
        plain = (elapsed > 0) & (abs(delta) <= reach * (elapsed + limits.slack_ms)) & (net | (delta >= 0))
        plain &= readings.regime[:-1] == later
    if readings.virtual.any():
        plain &= readings.era[:-1] == readings.era[1:]
    return plain


class Plausibility:
    """Compares pairs of readings, given by arrays of their indices that broadcast."""

    def __init__(self, readings: Readings, limits: Limits) -> None:
        self._of = readings
        self._limits = limits
        self._grain = np.ones(len(readings), dtype=np.int64)
        for size in _GRAINS:
            self._grain[readings.micro % size == 0] = size
        singles = np.spacing(abs(readings.micro / MICRO).astype(np.float32)).astype(np.float64)
        self._noise = np.maximum(np.ceil(singles * MICRO), 1.0)
        regimes = readings.regimes
        self._reach = np.array([regime.reach_per_ms for regime in regimes])[readings.regime]
        self._net = np.array([regime.net for regime in regimes])[readings.regime]
        self._modulus = np.array([regime.modulus or 0 for regime in regimes], dtype=np.int64)[readings.regime]

    def noise(self, earlier: Indices, later: Indices) -> Floats:
        """Return how far a single-precision register may seem to step back for no reason, in micro."""
        return np.maximum(self._noise[earlier], self._noise[later])

    def furthest(self, earlier: Indices, later: Indices) -> Floats:
        """Return the most that a register can have gone on by, in micro.

        One step of the register, at most a whole unit, is always allowed: a meter that shows whole kWh or cubic
        metres counts an hour's consumption in one minute.
        """
        step = np.maximum(np.minimum(self._grain[earlier], self._grain[later]), self.noise(earlier, later))
        elapsed = self._of.at_ms[later] - self._of.at_ms[earlier]
        return np.asarray(self._reach[later] * (elapsed + self._limits.slack_ms) + step)

    def progress(self, earlier: Indices, later: Indices) -> tuple[Int64s, Bools]:
        """Return what the register went on by, in micro of the reading, and whether it can have done so at all."""
        delta = self._of.micro[later] - self._of.micro[earlier]
        most = self.furthest(earlier, later)
        forward = (abs(delta) <= most) & (self._net[later] | (delta >= 0))
        over = self._rolled_over(earlier, later, delta, most)
        possible = forward | over
        at_once = self._of.at_ms[later] == self._of.at_ms[earlier]
        possible = np.where(at_once, delta == 0, possible) & (self._of.era[later] == self._of.era[earlier])
        return np.where(over, delta + self._modulus[later], delta), possible

    def _rolled_over(self, earlier: Indices, later: Indices, delta: Int64s, most: Floats) -> Bools:
        modulus = self._modulus[later]
        over = (modulus > 0) & ~self._net[later] & (delta < 0)
        over &= (self._of.micro[earlier] <= modulus) & (self._of.micro[later] >= 0)
        edge = modulus // _TOP_SHARE
        near = (self._of.micro[earlier] >= modulus - edge) & (self._of.micro[later] <= edge)
        return np.asarray(over & np.where(np.isinf(most), near, delta + modulus <= most))

    def lies_between(self, earlier: Indices, middle: Indices, later: Indices, way: Int64s) -> Bools:
        """Say whether `middle` lies on the `way` that the register went from `earlier` to `later`."""
        delta = self._of.micro[middle] - self._of.micro[earlier]
        modulus = self._modulus[later]
        on = ((delta >= 0) & (delta <= way)) | ((modulus > 0) & (delta + modulus >= 0) & (delta + modulus <= way))
        if not self._net.any():
            return np.asarray(on)
        reached = self.progress(earlier, middle)[1] | self.progress(middle, later)[1]
        return np.where(self._net[later], reached, on)

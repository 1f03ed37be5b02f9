"""Believable loads of a small technical site: power by the time of day, and energy as its exact integral. Pure.

Everything follows from (seed, role, time), so that a counter goes on where it stood after a restart.
Each hour of a day is a piece whose energy has a closed form; a day's energy is its unit times a factor
drawn for that day. The hour of day is UTC.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from simulator.electricity import Phase, point_values

_DAY_S = 86_400
_HOUR_S = 3_600
_INSTALLED_DAY = 20_089
"""2025-01-01: the day, counted from 1970, on which all counters stood at 0."""
_RIPPLE_S = 120
"""Divides the hour, so that the ripple leaves no trace in the energy of a whole hour."""
_RIPPLE = 0.04
DIGITS = {
    "voltage": 1,
    "current": 2,
    "active_power": 0,
    "reactive_power": 0,
    "apparent_power": 0,
    "power_factor": 2,
    "frequency": 2,
    "active_energy": -1,
    "reactive_energy": -1,
}
"""As meters of this class display them: 0.1 V, 0.01 A, 1 W, 0.01 kWh."""
_PHASE_SHARES = {1: (1.0,), 2: (0.55, 0.45), 3: (0.4, 0.33, 0.27)}


class Role(StrEnum):
    """What hangs behind a meter."""

    HEATER = "heater"
    AIR_CONDITIONER = "air_conditioner"
    WATER = "water"
    LIGHTING = "lighting"
    UPS = "ups"
    SERVER = "server"
    PV = "pv"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a role uses power over a day."""

    rated_w: float
    power_factor: float
    hourly: tuple[float, ...]
    """24 shares of the rated power; for a load that switches, of the time that it is on. At most 0.8."""
    cycle_s: int = 0
    """Length of an on-off cycle, a divisor of the hour; 0 for a load that does not switch."""
    exports: bool = False


def _hours(*spans: tuple[int, float]) -> tuple[float, ...]:
    """Repeat (count, share) spans to 24 hours."""
    return tuple(share for count, share in spans for _ in range(count))


_SUN = tuple(round(max(0.0, 0.8 * math.sin(math.pi * (hour - 5) / 14)), 3) for hour in range(24))
SHAPES = {
    Role.HEATER: Shape(2_000, 0.999, _hours((5, 0.55), (4, 0.7), (8, 0.35), (5, 0.5), (2, 0.6)), cycle_s=600),
    Role.AIR_CONDITIONER: Shape(3_200, 0.86, _hours((8, 0.15), (3, 0.35), (7, 0.7), (6, 0.3)), cycle_s=900),
    Role.WATER: Shape(750, 0.78, _hours((5, 0.02), (3, 0.3), (9, 0.12), (4, 0.35), (3, 0.06)), cycle_s=1_200),
    Role.LIGHTING: Shape(400, 0.95, _hours((5, 0.35), (2, 0.6), (9, 0.1), (6, 0.8), (2, 0.5))),
    Role.UPS: Shape(1_500, 0.98, _hours((24, 0.45))),
    Role.SERVER: Shape(2_400, 0.97, _hours((7, 0.5), (11, 0.75), (6, 0.6))),
    Role.PV: Shape(5_000, 0.999, _SUN, exports=True),
}


class Load:
    """One load with a memory of the days that it has already added up."""

    def __init__(self, role: Role, seed: int, *, rated_w: float | None = None, phases: int = 1) -> None:
        """Describe the load; `phases` is 1 to 3."""
        self.role = role
        self._seed = seed
        self._shape = SHAPES[role]
        self._rated_w = rated_w or self._shape.rated_w
        self._shares = _PHASE_SHARES[phases]
        self._hourly = tuple(
            share * (0.9 + 0.2 * self._chance("hour", hour)) for hour, share in enumerate(self._shape.hourly)
        )
        hours_wh = (self._hour_energy_wh(hour, _HOUR_S, 1.0) for hour in range(24))
        self._unit_hours_wh = tuple(accumulate(hours_wh, initial=0.0))
        self._factor_sums = [0.0]

    def power_w(self, at_s: float) -> float:
        """Return the power at a time in UTC seconds since 1970, without direction."""
        day, second = divmod(at_s, _DAY_S)
        hour, second = divmod(second, _HOUR_S)
        factor = self._day_factor(int(day))
        if self._shape.cycle_s:
            is_on = second % self._shape.cycle_s < self._hourly[int(hour)] * factor * self._shape.cycle_s
            return self._rated_w * (1 + _RIPPLE / 2 * self._voltage_swing(at_s)) if is_on else 0.0
        first, last = self._knots(int(hour), factor)
        ripple = min(first, last) * _RIPPLE * math.sin(2 * math.pi * second / _RIPPLE_S)
        return first + (last - first) * second / _HOUR_S + ripple

    def energy_wh(self, at_s: float) -> float:
        """Return what the counter shows: the energy since 2025-01-01, never falling."""
        day, second = divmod(at_s, _DAY_S)
        if day < _INSTALLED_DAY:
            return 0.0
        hour, second = divmod(second, _HOUR_S)
        factor = self._day_factor(int(day))
        before_today = self._sum_of_factors(int(day)) * self._unit_hours_wh[-1]
        today = factor * self._unit_hours_wh[int(hour)] + self._hour_energy_wh(int(hour), second, factor)
        return before_today + today

    def phases(self, at_s: float) -> tuple[Phase, ...]:
        """Return what a meter measures at a time in UTC seconds since 1970."""
        power_w, energy_wh = self.power_w(at_s), self.energy_wh(at_s)
        tangent = math.tan(math.acos(self._shape.power_factor))
        return tuple(
            Phase(
                voltage_v=self._voltage_v(at_s, number),
                power_w=-power_w * share if self._shape.exports else power_w * share,
                reactive_power_var=power_w * share * tangent,
                energy_import_wh=0.0 if self._shape.exports else energy_wh * share,
                energy_export_wh=energy_wh * share if self._shape.exports else 0.0,
                reactive_energy_varh=energy_wh * share * tangent,
            )
            for number, share in enumerate(self._shares)
        )

    def frequency_hz(self, at_s: float) -> float:
        """Return the mains frequency, the same for all loads of one seed."""
        slow = 0.02 * math.sin(2 * math.pi * at_s / 900) + 0.015 * math.sin(2 * math.pi * at_s / 47)
        return 50 + slow + 0.02 * (_chance(self._seed, "frequency", int(at_s)) - 0.5)

    def _knots(self, hour: int, factor: float) -> tuple[float, float]:
        scale = self._rated_w * factor
        return self._hourly[hour] * scale, self._hourly[(hour + 1) % 24] * scale

    def _hour_energy_wh(self, hour: int, second: float, factor: float) -> float:
        """Integrate the power over the first seconds of an hour. Linear in `factor` over whole hours."""
        if self._shape.cycle_s:
            on_s = self._hourly[hour] * factor * self._shape.cycle_s
            cycles, rest_s = divmod(second, self._shape.cycle_s)
            # The ripple of the voltage is left out: its mean over any cycle is next to nothing.
            return self._rated_w * (cycles * on_s + min(rest_s, on_s)) / _HOUR_S
        first, last = self._knots(hour, factor)
        turn = 2 * math.pi / _RIPPLE_S
        ripple = min(first, last) * _RIPPLE * (1 - math.cos(turn * second)) / turn
        return (first * second + (last - first) * second**2 / (2 * _HOUR_S) + ripple) / _HOUR_S

    def _day_factor(self, day: int) -> float:
        return 0.8 + 0.4 * self._chance("day", day)

    def _sum_of_factors(self, day: int) -> float:
        """Add the factors of the days since the installation, `day` itself excluded."""
        while len(self._factor_sums) <= day - _INSTALLED_DAY:
            next_day = _INSTALLED_DAY + len(self._factor_sums) - 1
            self._factor_sums.append(self._factor_sums[-1] + self._day_factor(next_day))
        return self._factor_sums[day - _INSTALLED_DAY]

    def _voltage_v(self, at_s: float, phase: int) -> float:
        noise = 0.6 * (_chance(self._seed, "voltage", phase, int(at_s)) - 0.5)
        return 230.5 - 0.7 * phase + 2.2 * self._voltage_swing(at_s) + noise

    def _voltage_swing(self, at_s: float) -> float:
        return 0.7 * math.sin(2 * math.pi * at_s / 7_200) + 0.3 * math.sin(2 * math.pi * at_s / 431)

    def _chance(self, what: str, number: int) -> float:
        return _chance(self._seed, self.role, what, number)


def _chance(*key: object) -> float:
    """Return a number from 0 to 1 that follows from the key alone, on every machine alike."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


class LoadSource:
    """The source of a meter that measures a load, at real or accelerated time."""

    digits = DIGITS

    def __init__(self, load: Load, *, started_ms: int = 0, speed: float = 1.0, ahead_s: float = 0.0) -> None:
        """Take the load; time runs `speed` times as fast from `started_ms` (UTC) on.

        Sources that are `ahead_s` of it may share one load, and yet show values of their own.
        """
        self._load = load
        self._ahead_s = ahead_s
        self._started_ms = started_ms
        self._speed = speed

    def values(self, serial: int, now_ms: int) -> Mapping[str, float]:  # noqa: ARG002 - time alone decides
        """Return what the meter measures now."""
        at_s = (self._started_ms + (now_ms - self._started_ms) * self._speed) / 1_000 + self._ahead_s
        return point_values(self._load.phases(at_s), self._load.frequency_hz(at_s))

"""What values are usual on a site, per quantity: what tells a right reading from registers read wrongly. Pure.

`protocol.quantities` knows what is possible; here stands what is to be expected, which is much less.
Sources: EN 50160 (voltage and frequency of public mains) with room for 100 V and 277/480 V systems;
3GPP TS 27.007 (signal strength).
"""

import re
from typing import NamedTuple

from protocol.profile import Point


class Usual(NamedTuple):
    """What is usual for a quantity, and how much a value there proves."""

    lowest: float
    highest: float
    weight: float
    """How much it says for a reading that a value lies inside: from 1, a little, to 4, hardly by chance."""


_PHASE_TO_NEUTRAL = Usual(90, 300, 3)
_PHASE_TO_PHASE = Usual(150, 520, 2)
_ANY_MAINS = Usual(90, 520, 2)
_DIRECT = Usual(5, 1_100, 1)
_USUAL = {
    "frequency": Usual(45, 65, 4),
    "power_factor": Usual(-1.01, 1.01, 1),
    "temperature": Usual(-40, 100, 1),
    "relative_humidity": Usual(3, 100, 1),
    "co2_concentration": Usual(300, 6_000, 2),
    "signal_strength": Usual(-135, -35, 3),
    "state_of_charge": Usual(1, 100, 1),
}
_CREDIBLE_MAX = {
    "voltage": 70_000,
    "current": 100_000,
    "active_power": 1e9,
    "reactive_power": 1e9,
    "apparent_power": 1e9,
    "active_energy": 1e14,
    "reactive_energy": 1e14,
    "apparent_energy": 1e14,
    "temperature": 1_500,
    "flow_rate": 1e5,
    "volume": 1e9,
}
"""Beyond it no site goes."""
_TRACE = 1e-6
"""A number so small, and not 0, is what a float32 in a wrong order looks like: no meter resolves it."""
_DIRECT_CURRENT = frozenset({"pv", "dc", "battery", "bms", "mppt", "string", "analog", "supply"})
_NEUTRAL, _PHASES = re.compile(r"l[123]_n\b|ln_avg"), re.compile(r"l[123]_l[123]|ll_avg")


def usual_of(point: Point) -> Usual | None:
    """Return what is usual for a point; None where anything is."""
    if point.quantity != "voltage":
        return _USUAL.get(point.quantity)
    if _DIRECT_CURRENT & {part.rstrip("0123456789") for part in point.name.split("_")}:
        return _DIRECT
    if _NEUTRAL.search(point.name):
        return _PHASE_TO_NEUTRAL
    return _PHASE_TO_PHASE if _PHASES.search(point.name) else _ANY_MAINS


def is_usual(point: Point, value: float) -> bool | None:
    """Say whether a value is what is to be expected; None when nothing is known to expect."""
    usual = usual_of(point)
    return None if usual is None else usual.lowest <= value <= usual.highest


def is_credible(point: Point, value: float) -> bool:
    """Say whether a value may be right at all; 0 always may."""
    if value == 0:
        return True
    if abs(value) < _TRACE:
        return False
    if point.quantity == "frequency":
        return value <= 500
    return abs(value) <= _CREDIBLE_MAX.get(point.quantity, 1e15)

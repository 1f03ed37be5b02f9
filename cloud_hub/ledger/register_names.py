"""What a counter's name tells of its register: where it counts, and which one stands for its meter. Pure.

Profiles name points after one pattern (docs/profiles.md): subject, quantity, direction, then the part of the whole:
`energy_active_import_total`, `energy_active_import_l1`, `battery_energy_charge_total`.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from cloud_hub.energy.model import Direction

_EXPORTS = frozenset({"export", "reverse", "discharge", "discharged", "pv", "exported"})
_IMPORTS = frozenset({"import", "forward", "charge", "charged", "imported", "consumed"})
_NET = "net"

_PART = re.compile(r"_(l[123]|t[1-9]|q[1-4]|partial|frac|today|yesterday|day|month|year)(_|$)")
"""A phase, a tariff, a quadrant, what somebody resets, what begins again each day: parts of another register."""

_NUMBERED = re.compile(r"_[0-9]+$")
"""Channels, each of which counts something of its own."""

_SUBJECTS = ("meter", "grid", "load", "pv", "battery", "bms")
"""A register of a part of the device, the nearer to the whole the earlier."""


@dataclass(frozen=True, slots=True)
class Named:
    """A counter."""

    point_id: int
    meter_id: int
    name: str
    quantity: str


def direction_of(name: str) -> Direction:
    """Guess from its name where what a register counts flows; what says nothing is import."""
    words = set(name.split("_"))
    if _NET in words:
        return Direction.NET
    return Direction.EXPORT if words & _EXPORTS and not words & _IMPORTS else Direction.IMPORT


def choose_totals(points: Iterable[Named], *, taken: Collection[int] = ()) -> set[int]:
    """Choose, per meter, quantity and direction, the one register that stands for the meter.

    `taken` do so already: no other of their kind is chosen. Where several channels are alike, none is.
    """
    groups: defaultdict[tuple[int, str, Direction], list[Named]] = defaultdict(list)
    for point in points:
        groups[point.meter_id, point.quantity, direction_of(point.name)].append(point)
    chosen = set()
    for group in groups.values():
        candidates = sorted(
            (point for point in group if not _PART.search(point.name)), key=lambda one: (*_rank(one), one.name)
        )
        if not candidates or any(point.point_id in taken for point in group):
            continue
        first = candidates[0]
        alike = [point for point in candidates if _rank(point) == _rank(first) and _NUMBERED.search(point.name)]
        if len(alike) < 2 or not _NUMBERED.search(first.name):
            chosen.add(first.point_id)
    return chosen


def _rank(point: Named) -> tuple[int, bool, bool]:
    """Order by how near to the whole meter, then import before a sum of both directions, then totals first."""
    words = point.name.split("_")
    subject = 1 + _SUBJECTS.index(words[0]) if words[0] in _SUBJECTS else 0
    return subject, not set(words) & (_IMPORTS | _EXPORTS), "total" not in words

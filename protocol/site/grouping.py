"""Into which groups the points of a meter fall: what is sampled together and reported alike. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from protocol.errors import InvalidSite
from protocol.manifest import PointKind
from protocol.profile import Point, Profile
from protocol.report_policy import HALF_HOUR_S, Policy, Report
from protocol.site.points import choose_own_points, choose_point
from protocol.site_config import MeterConfig

HALF_HOUR_MS = HALF_HOUR_S * 1000
_STAGGER_MS = 2_000
"""Between the meters of a bus, when their slots are long: more than a visit usually takes."""


class GroupKey(NamedTuple):
    """What makes points a group."""

    period_ms: int
    report: Report

    @property
    def holds_half_hours(self) -> bool:
        """Say whether each half-hour boundary is sampled, and reported as sampled."""
        return self.report.policy is Policy.EVERY and HALF_HOUR_MS % self.period_ms == 0


class Stagger(NamedTuple):
    """The place of a meter among those of its bus, from which its gauges wait their turn."""

    number: int
    """From 0."""
    of: int

    def offset_ms(self, key: GroupKey, points: Iterable[Point]) -> int:
        """Return how far inside its slots a group is sampled.

        Counters are read where the slot begins, where intervals do; gauges make room for them, within the
        first half of the slot.
        """
        if any(point.kind is PointKind.COUNTER for point in points):
            return 0
        return min(key.period_ms // 2 * self.number // self.of, _STAGGER_MS * self.number)


_BOUNDARY = GroupKey(HALF_HOUR_MS, Report())


def group_points(profile: Profile, meter: MeterConfig, place: str) -> dict[GroupKey, list[Point]]:
    """Sort the points of a meter into groups, the meter's own first.

    Counters that their group does not report at each half-hour boundary stand in a further group that
    does, so such a counter is a column of two layouts.
    Raises: InvalidSite.
    """
    own = GroupKey(_milliseconds(meter.period_s), meter.report)
    _check(own, place)
    grouped = {name for group in meter.groups for name in group.points}
    groups = {own: [point for point in choose_own_points(profile, meter, place) if point.name not in grouped]}
    for index, group in enumerate(meter.groups):
        at = f"{place}.groups[{index}]"
        period_ms = own.period_ms if group.period_s is None else _milliseconds(group.period_s)
        key = GroupKey(period_ms, group.report or meter.report)
        _check(key, at)
        points = groups.setdefault(key, [])
        points.extend(choose_point(profile, name, f"{at}.points") for name in group.points)
    _add_boundary_group(groups)
    return {key: points for key, points in groups.items() if points}


def _add_boundary_group(groups: dict[GroupKey, list[Point]]) -> None:
    missing = [
        point
        for key, points in groups.items()
        if not key.holds_half_hours
        for point in points
        if point.kind is PointKind.COUNTER
    ]
    if missing:
        groups.setdefault(_BOUNDARY, []).extend(missing)


def _check(key: GroupKey, place: str) -> None:
    every_ms = _milliseconds(key.report.every_s)
    if key.report.policy is Policy.AGGREGATE and every_ms < key.period_ms:
        raise InvalidSite(
            f"{place}.report.every_s: {key.report.every_s:g} s is shorter than the sampling period of "
            f"{key.period_ms / 1000:g} s; sample more often or report less often"
        )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)

"""Which points of a profile a site reads and may write, as the site's own factors make them. Pure.

Every fault is one sentence that names file, key, point and remedy.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from protocol.errors import InvalidSite, UnknownQuantity
from protocol.library import default_points
from protocol.manifest import PointKind
from protocol.profile import Access, Point, Profile
from protocol.quantities import QUANTITIES, get_quantity
from protocol.site_config import MeterConfig, PointFactor
from protocol.wording import did_you_mean

_ROUTER = "cellular_router"
_DESCRIBING = frozenset({"text", "identity"})


def choose_own_points(profile: Profile, meter: MeterConfig, place: str) -> tuple[Point, ...]:
    """Return the points that the meter itself names, else all that the profile offers as measurements.

    Raises: InvalidSite.
    """
    if meter.points is None:
        points = default_points(profile)
        if not points and not meter.groups:
            raise InvalidSite(
                f"{place}: profile {profile.id!r} has no points that are read unasked; choose some with 'points'"
            )
        return points
    repeated = [name for name, times in Counter(meter.points).items() if times > 1]
    if repeated:
        raise InvalidSite(f"{place}.points: {repeated[0]!r} is named twice; name it once")
    return tuple(choose_point(profile, name, f"{place}.points") for name in meter.points)


def choose_point(profile: Profile, name: str, place: str) -> Point:
    """Return a point that can be part of a scan.

    Raises: InvalidSite.
    """
    point = _find_point(profile, name, place, [point.name for point in profile.points if not _reading_fault(point)])
    fault = _reading_fault(point)
    if fault is not None:
        raise InvalidSite(f"{place}: {name!r} of profile {profile.id!r} {fault}; remove it")
    return point


def describing_points(profile: Profile) -> tuple[Point, ...]:
    """Return what a device says of itself: a router's texts, any other's identity."""
    quantities = _DESCRIBING if is_router(profile) else frozenset({"identity"})
    return tuple(
        point
        for point in profile.points
        if point.quantity in quantities and point.is_readable and point.verify is None and point.service is None
    )


def is_router(profile: Profile) -> bool:
    """Say whether the device is a cellular router."""
    return profile.category == _ROUTER


def apply_factors(meter: MeterConfig, points: Mapping[str, Point], profile: Profile, place: str) -> dict[str, Point]:
    """Return the points by name, with the site's factors in their scale, resolution and rollover.

    Raises: InvalidSite.
    """
    applied = dict(points)
    for index, factor in enumerate(meter.factors):
        at = f"{place}.factors[{index}]"
        if factor.point not in points:
            _find_point(profile, factor.point, f"{at}.point", points)
            raise InvalidSite(f"{at}.point: {factor.point!r} is not read; add it to 'points' or remove the factor")
        applied[factor.point] = _with_factor(points[factor.point], factor, at)
    return applied


def check_writable(profile: Profile, meter: MeterConfig, place: str) -> None:
    """Refuse to open for writing what the profile does not.

    Raises: InvalidSite.
    """
    offered = [point.name for point in profile.points if _writing_fault(point) is None]
    for index, writable in enumerate(meter.writable):
        at = f"{place}.writable[{index}].point"
        fault = _writing_fault(_find_point(profile, writable.point, at, offered))
        if fault is not None:
            raise InvalidSite(f"{at}: {writable.point!r} of profile {profile.id!r} {fault}; remove it")


def _find_point(profile: Profile, name: str, place: str, offered: Sequence[str] | Mapping[str, Point]) -> Point:
    try:
        return profile.get_point(name)
    except KeyError:
        near = did_you_mean(name, offered)
        raise InvalidSite(
            f"{place}: {name!r} is no point of profile {profile.id!r}{near}; correct or remove it"
        ) from None


def _reading_fault(point: Point) -> str | None:
    if point.is_text:
        return "is a text, and scans hold numbers"
    return None if point.is_readable else "can only be written"


def _writing_fault(point: Point) -> str | None:
    if point.access is Access.READ:
        return "can only be read"
    return "is a text, and commands write numbers" if point.is_text else None


def _with_factor(point: Point, factor: PointFactor, place: str) -> Point:
    if point.kind is PointKind.STATE:
        raise InvalidSite(f"{place}: {point.name!r} is a state, which no factor fits; remove the factor")
    changes: dict[str, object] = {
        "scale": point.scale * factor.factor,
        "rollover": None if point.rollover is None else point.rollover * factor.factor,
        "resolution": None if point.resolution is None else point.resolution * factor.factor,
    }
    if factor.quantity is not None:
        changes |= _measured_instead(point, factor.quantity, f"{place}.quantity")
    try:
        return Point.model_validate({**point.model_dump(exclude_none=True), **changes})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidSite(f"{place}: {reason}; correct the factor") from None


def _measured_instead(point: Point, name: str, place: str) -> dict[str, object]:
    try:
        quantity = get_quantity(name)
    except UnknownQuantity:
        near = did_you_mean(name, QUANTITIES)
        raise InvalidSite(f"{place}: {name!r} is no quantity that is known{near}; correct it") from None
    if quantity.kind is PointKind.STATE:
        raise InvalidSite(f"{place}: {name!r} is no measured quantity; choose one with a unit, or remove it")
    changes: dict[str, object] = {"quantity": name, "unit": quantity.unit, "kind": quantity.kind}
    if quantity.kind is not PointKind.COUNTER:
        changes |= {"rollover": None, "resettable": False}
    return changes if name != point.quantity else {}

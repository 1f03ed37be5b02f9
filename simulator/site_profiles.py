"""Which profile and which points each meter of a simulated site has. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.errors import UnknownProfile
from protocol.library import default_points, get_profile
from protocol.profile import Profile
from simulator.electricity import OFFERED_POINTS
from simulator.errors import SiteDescriptionError
from simulator.identity import SERIAL_POINT, with_identity
from simulator.site_description import MeterDescription

_POINTS_PER_METER = 20
"""How many points a meter is read for where its description names none, `scan_serial` included."""


@dataclass(frozen=True, slots=True)
class Played:
    """The profile and the points of one meter."""

    profile: Profile
    points: tuple[str, ...]
    is_of_library: bool = False


def choose_profiles(meters: Sequence[MeterDescription]) -> dict[str, Played]:
    """Give each meter its profile and points, the identity included; equal ones share a profile id.

    Raises: SiteDescriptionError.
    """
    given: dict[str, Profile] = {}
    result = {}
    for meter in meters:
        try:
            library = get_profile(meter.profile)
            if meter.plausible:
                result[meter.id] = Played(library, _points_of_library(library, meter), is_of_library=True)
                continue
            points = meter.points or usual_points(library)
            profile = with_identity(library, points)
        except UnknownProfile as error:
            raise SiteDescriptionError(f"meter {meter.id!r}: {error}") from error
        except KeyError as error:
            raise SiteDescriptionError(f"meter {meter.id!r}: profile {meter.profile!r} has no point {error}") from error
        except ValueError as error:
            raise SiteDescriptionError(f"meter {meter.id!r}: {error}") from error
        profile = _under_free_id(profile, given)
        result[meter.id] = Played(profile, (*points, SERIAL_POINT))
    return result


def _points_of_library(profile: Profile, meter: MeterDescription) -> tuple[str, ...]:
    if profile.modbus is None or not profile.points:
        raise ValueError(f"profile {profile.id!r} has no Modbus points to serve")
    if meter.points is not None:
        return tuple(profile.get_point(name).name for name in meter.points)
    usual = [point for point in default_points(profile) if point.unit_id in (None, meter.unit_id)]
    if not usual:
        raise ValueError(f"profile {profile.id!r} has no point that is usually read under unit id {meter.unit_id}")
    return tuple(point.name for point in usual)


def _under_free_id(profile: Profile, given: dict[str, Profile]) -> Profile:
    """Give the profile a number where another of its id has the identity elsewhere."""
    number, candidate = 1, profile
    while given.setdefault(candidate.id, candidate) != candidate:
        number += 1
        candidate = profile.model_copy(update={"id": f"{profile.id}-{number}"})
    return candidate


def usual_points(profile: Profile, most: int = _POINTS_PER_METER) -> tuple[str, ...]:
    """Choose the points that the simulation plays, of the table that has most of them; totals come first.

    `most` counts `scan_serial` too. Raises: ValueError when the simulation plays none.
    """
    played = [point for point in default_points(profile) if point.name in OFFERED_POINTS]
    if not played:
        raise ValueError(f"of profile {profile.id} the simulation plays no point: choose an electricity meter")
    tables = [point.table for point in played]
    table = max(dict.fromkeys(tables), key=tables.count)
    names = [point.name for point in played if point.table is table]
    chosen = set(sorted(names, key=lambda name: not name.endswith(("_total", "frequency")))[: most - 1])
    return tuple(name for name in names if name in chosen)

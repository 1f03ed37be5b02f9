"""The serial of a frame is read with the first request, so that all values of a scan are of one frame."""

import pytest
from factories import make_point, make_profile

from protocol.library import default_points, get_profile, profile_ids
from protocol.profile import Profile
from protocol.site.read_plan import plan_reads
from simulator.identity import SERIAL_POINT, with_identity

CROWDED = {
    "carel-uc2se",
    "carlo-gavazzi-em24",
    "carlo-gavazzi-em24-e1",
    "carlo-gavazzi-em340-em530",
    "peacefair-pzem-016",
    "xy-md02",
}
"""Read in full, these leave no two registers, on even distances, that a client would read along."""


def numeric_profiles() -> list[str]:
    profiles = (get_profile(name) for name in profile_ids())
    return [profile.id for profile in profiles if profile.modbus and registers_of(profile)]


def registers_of(profile: Profile) -> list[str]:
    points = [point for point in default_points(profile) if not point.table.holds_bits and point.unit_id is None]
    return [point.name for point in points if point.table is points[0].table]


@pytest.mark.parametrize("profile_id", numeric_profiles())
def test_first_request_reads_the_serial(profile_id: str) -> None:
    library = get_profile(profile_id)
    names = registers_of(library)
    try:
        profile = with_identity(library, names)
    except ValueError:
        assert profile_id in CROWDED
        return
    assert profile.modbus is not None
    points = profile.with_exponents(profile.get_point(name) for name in (*names, SERIAL_POINT))
    first, *others = plan_reads(points, profile.modbus, default_unit_id=1)
    assert SERIAL_POINT in [planned.point.name for planned in first.points]
    # The profile as a whole is still a legal one.
    assert Profile.model_validate(profile.model_dump()) == profile
    before = plan_reads(library.with_exponents(library.get_point(name) for name in names), profile.modbus, 1)
    assert len(others) < len(before) + 1


def test_serial_takes_the_hole_behind_the_first_point() -> None:
    profile = with_identity(get_profile("eastron-sdm120"), ["voltage_l1_n", "current_l1"])
    assert profile.id == "eastron-sdm120-simulated"
    assert profile.get_point(SERIAL_POINT).address == 2


def test_unread_point_gives_way_where_there_is_no_hole() -> None:
    profile = with_identity(get_profile("eastron-sdm630"), ["voltage_l1_n"])
    assert profile.get_point(SERIAL_POINT).address == 2
    assert "voltage_l2_n" not in [point.name for point in profile.points]


def test_forbidden_registers_are_left_alone() -> None:
    modbus = {"transports": ["tcp"], "forbidden_ranges": [[1, 9]], "max_hole": 20}
    with pytest.raises(ValueError, match="no two free registers"):
        with_identity(make_profile(make_point(), modbus=modbus), ["voltage_l1_n"])


def test_points_of_several_tables_are_refused() -> None:
    other = make_point("voltage_l2_n", table="input_register")
    with pytest.raises(ValueError, match="lie in several tables"):
        with_identity(make_profile(make_point(), other), ["voltage_l1_n", "voltage_l2_n"])

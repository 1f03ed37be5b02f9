from collections import Counter
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest
from factories import make_point, make_profile

from protocol.errors import InvalidProfile, UnknownProfile
from protocol.library import default_points, get_profile, load_library, parse_profile, profile_ids
from protocol.manifest import PointKind
from protocol.profile import Access, Point, Profile, RegisterType, Table

EVERY_PROFILE = pytest.mark.parametrize("profile", [pytest.param(get_profile(name), id=name) for name in profile_ids()])


def test_library_is_complete() -> None:
    library = load_library()
    assert len(library) == 74
    assert sum(len(profile.points) + len(profile.objects) for profile in library.values()) == 1789


def test_marks_are_kept() -> None:
    points = [point for profile in load_library().values() for point in profile.points]
    assert sum(point.verify is not None for point in points) == 75
    assert sum(point.rollover is not None for point in points) == 128
    assert Counter(point.kind for point in points)[PointKind.COUNTER] == 354


@EVERY_PROFILE
def test_profile_cites_its_sources(profile: Profile) -> None:
    assert all(profile.sources)


@EVERY_PROFILE
def test_no_two_points_read_the_same_words(profile: Profile) -> None:
    # None of the devices here overlays values; one that does would have to say so.
    for one, other in combinations(profile.points, 2):
        if (one.table, one.unit_id) == (other.table, other.unit_id):
            assert one.address + one.words <= other.address or other.address + other.words <= one.address


@EVERY_PROFILE
def test_every_readable_point_fits_one_request_outside_forbidden_ranges(profile: Profile) -> None:
    for point in filter(lambda point: point.is_readable, profile.points):
        assert profile.modbus is not None
        modbus = profile.modbus
        assert point.words <= (modbus.max_bits_per_read if point.table.holds_bits else modbus.max_registers_per_read)
        assert all(
            point.address + point.words <= first or last < point.address for first, last in modbus.forbidden_ranges
        )


@EVERY_PROFILE
def test_measured_points_can_be_read_with_the_stated_function_codes(profile: Profile) -> None:
    for point in default_points(profile):
        assert profile.modbus is not None
        assert point.table.read_function_code in profile.modbus.function_codes


@EVERY_PROFILE
def test_meter_offers_something_by_default(profile: Profile) -> None:
    # These two describe how to find values rather than where they are; SNMP objects are not Modbus points.
    if profile.id not in ("fronius-sunspec", "generic-pulse-water-meter") and profile.modbus is not None:
        assert default_points(profile)


def test_default_points_are_numbers_that_are_measured_and_sure() -> None:
    for profile in load_library().values():
        for point in default_points(profile):
            assert point.verify is None
            assert point.access is not Access.WRITE
            assert point.type not in (RegisterType.STRING, RegisterType.IPV4)
            assert not point.name.startswith(("cfg_", "ctl_"))


def test_default_points_leave_out_exponents_and_other_services() -> None:
    exponent = make_point("exponent", quantity="exponent")
    voltage = make_point(exponent_point="exponent")
    of_a_service = make_point("grid_power", quantity="active_power", service="grid")
    assert default_points(make_profile(exponent, voltage, of_a_service)) == (voltage,)


@pytest.mark.parametrize(
    ("profile_id", "name", "expected"),
    [
        ("eastron-sdm120", "voltage_l1_n", (0, Table.INPUT_REGISTER, RegisterType.FLOAT32, "V", 1)),
        ("eastron-sdm120", "energy_active_import_total", (72, Table.INPUT_REGISTER, RegisterType.FLOAT32, "Wh", 1000)),
        ("abb-b23-b24", "energy_active_import_l1", (21_600, Table.HOLDING_REGISTER, RegisterType.UINT64, "Wh", 10)),
        ("abb-b23-b24", "frequency", (23_340, Table.HOLDING_REGISTER, RegisterType.UINT16, "Hz", Decimal("0.01"))),
        ("victron-gx", "energy_active_export_l3", (2632, Table.HOLDING_REGISTER, RegisterType.UINT32, "Wh", 10)),
        ("apc-smart-ups", "battery_soc", (130, Table.HOLDING_REGISTER, RegisterType.UINT16, "%", Decimal(1) / 512)),
        ("tuf-2000m-heat-flow", "heat_power", (2, Table.HOLDING_REGISTER, RegisterType.FLOAT32, "GJ/h", 1)),
        (
            "kamstrup-multical-x03",
            "flow_rate",
            (0, Table.HOLDING_REGISTER, RegisterType.FLOAT32, "m3/h", Decimal("0.001")),
        ),
    ],
)
def test_well_known_registers(profile_id: str, name: str, expected: tuple[object, ...]) -> None:
    point = get_profile(profile_id).get_point(name)
    assert (point.address, point.table, point.type, point.unit, point.scale) == expected


def test_rollover_is_in_the_unit_of_the_point() -> None:
    point = get_profile("victron-gx").get_point("energy_active_import_l1")
    assert point.rollover == 2**32 * point.scale


def test_not_available_patterns_follow_the_type() -> None:
    abb = get_profile("abb-b23-b24")
    assert abb.get_point("energy_active_import_total").not_available == (2**64 - 1,)
    assert abb.get_point("active_power_total").not_available == (0x7FFF_FFFF,)


def test_unit_that_a_setting_decides_is_not_claimed() -> None:
    point = get_profile("iskra-wm3").get_point("energy_counter_1")
    assert (point.quantity, point.unit, point.note) == ("unscaled", "", "unit: see counter setting")


@pytest.mark.parametrize("wrong", ["eastron_sdm120", "eastron-sdm12", "sdm120"])
def test_unknown_profile_names_those_that_look_alike(wrong: str) -> None:
    with pytest.raises(UnknownProfile, match=r"did you mean .*eastron-sdm120"):
        get_profile(wrong)


@pytest.mark.parametrize("wrong", ["", "../profile", "no such thing at all"])
def test_profile_like_no_other_points_to_the_documentation(wrong: str) -> None:
    with pytest.raises(UnknownProfile, match=r"docs/profiles\.md"):
        get_profile(wrong)


def test_library_is_a_mapping() -> None:
    library = load_library()
    assert library["eastron-sdm120"] is get_profile("eastron-sdm120")
    assert library.get("no-such-profile") is None
    assert set(library) == set(profile_ids())


def test_fault_in_a_file_names_file_point_and_key() -> None:
    text = """
        id = "my-meter"
        manufacturer = "Mine"
        model = "One"
        category = "electricity_meter"
        confidence = "low"
        sources = ["manual"]
        modbus.transports = ["tcp"]
        points = [{name = "voltage_l1_n", address = "x", table = "input_register", type = "float32", quantity = "voltage"}]
    """
    with pytest.raises(InvalidProfile, match=r"my-meter\.toml: point 'voltage_l1_n': address: .*integer"):
        parse_profile(text, "my-meter.toml")
    with pytest.raises(InvalidProfile, match=r"my-meter\.toml is not TOML"):
        parse_profile("id = ", "my-meter.toml")
    with pytest.raises(InvalidProfile, match=r"my-meter\.toml: point 'voltage_l1_n': quantity 'volt' is unknown"):
        parse_profile(text.replace('"x"', "7").replace('"voltage"', '"volt"'), "my-meter.toml")
    assert parse_profile(text.replace('"x"', "7"), "my-meter.toml").points[0].address == 7


def test_example_in_the_documentation_loads() -> None:
    page = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8")
    example = page.split("```toml\n", 1)[1].split("```", 1)[0]
    profile = parse_profile(example, "docs/profiles.md")
    assert default_points(profile) == profile.points


def test_decimals_of_a_file_stay_exact() -> None:
    points: tuple[Point, ...] = get_profile("apc-smart-ups").points
    assert {point.scale for point in points if point.name == "frequency_output"} == {Decimal("0.0078125")}

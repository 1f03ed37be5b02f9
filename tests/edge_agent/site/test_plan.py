"""A site configuration becomes requests, columns and a manifest, or one sentence that says why not."""

import json
from pathlib import Path
from typing import Any

import pytest
from site_factories import (
    make_energy_point,
    make_meter_config,
    make_point,
    make_profile,
    make_site_config,
    make_site_plan,
)

from edge_agent.errors import SettingsError
from edge_agent.site.compile import compile_site, find_meter, load_site
from protocol.library import default_points, get_profile
from protocol.profile import Profile
from protocol.site_config import SiteConfig

LIBRARY_SITE = """
[[buses]]
id = "cabinet"
host = "192.0.2.7"

[[buses.meters]]
id = "heater"
profile = "eastron-sdm120"
period_s = 10

[[buses.meters]]
id = "mains"
profile = "eastron-sdm630"
unit_id = 2
points = ["frequency", "voltage_l1_n"]
"""


def write(directory: Path, text: str, name: str = "site.toml") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def test_meters_of_the_library_are_compiled_in_order(tmp_path: Path) -> None:
    plan = load_site(write(tmp_path, LIBRARY_SITE))
    heater, mains = plan.meters
    assert heater.points == default_points(get_profile("eastron-sdm120"))
    assert [point.name for point in mains.points] == ["frequency", "voltage_l1_n"]
    assert {request.request.unit_id for request in mains.requests} == {2}
    assert [layout.meter for layout in plan.manifest.layouts] == ["heater", "mains"]
    assert [(p.name, p.quantity, p.unit) for p in plan.manifest.layouts[1].points] == [
        ("frequency", "frequency", "Hz"),
        ("voltage_l1_n", "voltage", "V"),
    ]
    [group] = heater.groups
    assert (group.period_ms, heater.readings_per_day) == (10_000, 8_640 * len(heater.points))


def test_every_column_is_filled_by_exactly_one_request(tmp_path: Path) -> None:
    for meter in load_site(write(tmp_path, LIBRARY_SITE)).meters:
        slots = sorted(column.slot for request in meter.requests for column in request.columns)
        assert slots == list(range(len(meter.points)))


def test_json_is_read_like_toml(tmp_path: Path) -> None:
    config = make_site_config()
    path = write(tmp_path, config.model_dump_json(), "site.json")
    assert load_site(path).config == config


def test_profile_of_the_site_takes_the_place_of_the_library_s() -> None:
    own = make_profile(id="eastron-sdm120")
    plan = make_site_plan([make_meter_config(profile="eastron-sdm120")], [own])
    assert plan.meters[0].profile == own


def test_exponent_is_read_along_but_is_no_column_of_the_scan() -> None:
    profile = make_profile(
        [make_point(exponent_point="exponent"), make_point("exponent", address=1, quantity="exponent", scale="1")]
    )
    meter = make_site_plan([make_meter_config(points=["voltage"])], [profile]).meters[0]
    assert [point.name for point in meter.points] == ["voltage"]
    assert [point.name for point in meter.groups[0].exponents] == ["exponent"]


def test_bus_pauses_as_long_as_its_slowest_meter_asks() -> None:
    slow = make_profile(modbus={"transports": ["rtu"], "inter_frame_delay_ms": 60})
    assert make_site_plan(profiles=[slow]).buses[0].extra_pause_s == 0.06


def _with_points(*points: str) -> dict[str, Any]:
    return make_meter_config(points=list(points))


TWO_POINTS = make_profile([make_point(), make_energy_point()])
MIXED = make_profile(
    [
        make_point(),
        make_point("serial", address=20, type="string", words=4, quantity="identity", scale="1"),
        make_point("reset", address=30, access="w"),
    ]
)
SNMP = Profile.model_validate(
    {**make_profile().model_dump(exclude={"modbus", "points"}), "snmp": {"versions": ["2c"]}, "objects": ()}
)
FORBIDDEN = make_profile(modbus={"transports": ["tcp"], "forbidden_ranges": [(10, 11)]})

FAULTS: dict[str, tuple[dict[str, Any], Profile, str]] = {
    "unknown profile": (
        make_meter_config(profile="eastron-sdm12"),
        TWO_POINTS,
        r"\.profile: profile 'eastron-sdm12' is unknown; did you mean .*eastron-sdm120",
    ),
    "near profile of the site": (make_meter_config(profile="test-metre"), TWO_POINTS, r"did you mean 'test-meter'\?"),
    "unknown point": (_with_points("voltag"), TWO_POINTS, r"\.points: 'voltag' is no point .*did you mean 'voltage'"),
    "repeated point": (_with_points("voltage", "voltage"), TWO_POINTS, r"\.points: 'voltage' is named twice"),
    "text": (_with_points("serial"), MIXED, r"\.points: 'serial' of profile 'test-meter' is a text"),
    "write-only": (_with_points("reset"), MIXED, r"\.points: 'reset' of profile 'test-meter' can only be written"),
    "forbidden": (_with_points("energy"), FORBIDDEN, r"\.points: point 'energy' cannot be read: .*forbidden"),
    "snmp": (make_meter_config(), SNMP, r"\.profile: 'test-meter' is read by SNMP"),
    "nothing to read": (
        make_meter_config(),
        make_profile([make_point(verify="everything")]),
        "has no points that are read unasked",
    ),
}


@pytest.mark.parametrize(("meter", "profile", "message"), FAULTS.values(), ids=FAULTS)
def test_fault_names_file_and_key(meter: dict[str, Any], profile: Profile, message: str) -> None:
    with pytest.raises(SettingsError, match=rf"^site\.toml: buses\[0\]\.meters\[1\].*{message}") as caught:
        compile_site(
            make_site_config([make_meter_config("meter-0", profile="eastron-sdm120"), meter], [profile]), "site.toml"
        )
    assert caught.value.exit_code == 78
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"buses: is missing"),
        (LIBRARY_SITE + "period = 3\n", r"buses\[0\]\.meters\[1\]\.period: is not a key that is known here"),
        (
            LIBRARY_SITE.replace("period_s = 10", "period_s = 0"),
            r"period_s: 0 is out of range; it must be at least",
        ),
        (LIBRARY_SITE.replace('"mains"', '"heater"'), r"meter id 'heater' is used twice"),
    ],
)
def test_fault_of_the_file_itself_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_site(write(tmp_path, text))


def test_json_that_is_no_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no JSON object"):
        load_site(write(tmp_path, json.dumps([1]), "site.json"))
    with pytest.raises(SettingsError, match="is not valid JSON"):
        load_site(write(tmp_path, "{", "site.json"))


def test_missing_site_file_says_where_its_name_comes_from(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml does not exist: .*'site' in agent\.toml"):
        load_site(tmp_path / "none.toml")


def test_meter_is_found_with_its_bus() -> None:
    bus, meter = find_meter(make_site_plan(), "meter-1")
    assert (bus.config.id, meter.config.id) == ("bus-1", "meter-1")
    with pytest.raises(SettingsError, match=r"meter 'meter-2' is not in .*did you mean 'meter-1'\?"):
        find_meter(make_site_plan(), "meter-2")


def test_meters_that_are_configured_alike_share_all_but_their_layout() -> None:
    alike = [make_meter_config("a", unit_id=1), make_meter_config("b", unit_id=1, label="Roof")]
    buses = [{"id": meter["id"], "host": f"10.0.0.{n}", "meters": [meter]} for n, meter in enumerate(alike, 1)]
    other = {"id": "c", "host": "10.0.0.3", "meters": [make_meter_config("c", unit_id=2)]}
    config = {"buses": [*buses, other], "profiles": [make_profile([make_point()])]}
    plan = compile_site(SiteConfig.model_validate(config), "site.toml")
    first, second, third = (meter.groups[0] for meter in plan.meters)
    assert second.requests is first.requests
    assert third.requests is not first.requests
    assert [(layout.meter, layout.label) for layout in plan.manifest.layouts] == [("a", ""), ("b", "Roof"), ("c", "")]
    assert plan.manifest.layouts[1].points is plan.manifest.layouts[0].points
    assert [group.layout for group in (first, second, third)] == [0, 1, 2]

"""Points fall into groups by period and policy; counters are read at each half hour whatever their group does."""

from decimal import Decimal
from typing import Any

import pytest
from site_factories import make_energy_point, make_meter_config, make_point, make_profile, make_site_plan

from protocol.errors import InvalidSite
from protocol.manifest import Layout, PointKind
from protocol.profile import Profile
from protocol.report_policy import Policy, Statistic
from protocol.site.plan import GroupPlan, MeterPlan, whole_meter
from protocol.site.timing import Timing

PULSES = {"type": "uint32", "address": 20, "quantity": "pulse_count", "scale": "1", "rollover": 4_294_967_296}
PROFILE = make_profile(
    [
        make_point(),
        make_point("current", address=1, quantity="current"),
        make_energy_point(),
        make_point("pulses", **PULSES),
        make_point("relay", address=30, quantity="flag", scale="1", access="rw"),
        make_point("serial", address=40, type="string", words=4, quantity="identity", scale="1", access="rw"),
        make_point("doubtful", address=50, verify="everything"),
    ]
)
SUMMARY = {"policy": "aggregate", "every_s": 1800}


def compiled(profile: Profile = PROFILE, **meter: Any) -> tuple[MeterPlan, tuple[Layout, ...]]:
    plan = make_site_plan([make_meter_config(**{"period_s": 60, **meter})], [profile])
    return plan.meters[0], plan.manifest.layouts


def names(group: GroupPlan) -> list[str]:
    return [point.name for point in group.points]


def columns(layout: Layout) -> list[str]:
    return [point.name for point in layout.points]


def test_group_takes_its_points_from_the_meter_s_own_and_may_name_others() -> None:
    meter, layouts = compiled(points=["voltage", "energy"], groups=[{"points": ["voltage", "doubtful"], "period_s": 5}])
    assert [names(group) for group in meter.groups] == [["energy"], ["voltage", "doubtful"]]
    assert [group.period_ms for group in meter.groups] == [60_000, 5_000]
    assert [(layout.period_s, layout.policy) for layout in layouts] == [(60, Policy.EVERY), (5, Policy.EVERY)]
    assert meter.readings_per_day == 1_440 + 2 * 17_280


def test_groups_of_one_period_and_policy_are_one() -> None:
    groups = [
        {"points": ["current"], "period_s": 60},
        {"points": ["relay"], "period_s": 5},
        {"points": ["pulses"], "period_s": 5},
    ]
    meter, _ = compiled(points=["voltage"], groups=groups)
    assert [names(group) for group in meter.groups] == [["voltage", "current"], ["relay", "pulses"]]


def test_meter_whose_points_all_stand_in_groups_has_no_group_of_its_own() -> None:
    meter, layouts = compiled(points=["voltage"], groups=[{"points": ["voltage"], "period_s": 5}])
    assert (len(meter.groups), len(layouts)) == (1, 1)


@pytest.mark.parametrize(
    ("meter", "adds_boundary"),
    [
        ({"period_s": 60}, False),
        ({"period_s": 0.1}, False),
        ({"period_s": 1800}, False),
        ({"period_s": 7}, True),
        ({"period_s": 3600}, True),
        ({"report": SUMMARY}, True),
        ({"report": {"policy": "on_change"}}, True),
    ],
)
def test_counters_are_reported_at_each_half_hour(meter: dict[str, Any], adds_boundary: bool) -> None:  # noqa: FBT001 - a column of the table
    plan, layouts = compiled(points=["voltage", "energy"], **meter)
    boundary = [group for group in plan.groups if (group.period_ms, group.report.policy) == (1_800_000, Policy.EVERY)]
    if not adds_boundary:
        assert len(plan.groups) == 1
        return
    assert [names(group) for group in boundary] == [["energy"]]
    assert boundary[0].offset_ms == 0
    assert columns(layouts[boundary[0].layout]) == ["energy"]
    assert "energy" in names(plan.groups[0])


def test_meter_without_counters_gets_no_boundary_group() -> None:
    meter, _ = compiled(points=["voltage", "relay"], period_s=7)
    assert len(meter.groups) == 1


def test_summary_has_statistics_of_gauges_and_the_last_value_of_the_rest() -> None:
    meter, layouts = compiled(points=["voltage", "energy", "relay"], report={**SUMMARY, "statistics": ["mean", "max"]})
    summary = layouts[meter.groups[0].layout]
    assert columns(summary) == ["voltage_mean", "voltage_max", "energy", "relay", "samples"]
    assert [p.statistic for p in summary.points] == [Statistic.MEAN, Statistic.MAX, None, None, None]
    assert (summary.points[0].unit, summary.points[4].quantity, summary.points[4].kind) == (
        "V",
        "count",
        PointKind.GAUGE,
    )
    assert (summary.policy, summary.period_s, summary.on_demand) == (Policy.AGGREGATE, 1800, False)


def test_what_is_not_reported_sample_by_sample_has_a_live_layout_from_the_start() -> None:
    meter, layouts = compiled(points=["voltage", "energy"], period_s=5, report=SUMMARY)
    live = meter.groups[0].live_layout
    assert live is not None
    assert (layouts[live].on_demand, layouts[live].policy, layouts[live].period_s) == (True, Policy.EVERY, 5)
    assert columns(layouts[live]) == ["voltage", "energy"]
    assert meter.groups[1].live_layout is None


def test_heartbeat_is_the_longest_time_between_reports_of_changes() -> None:
    _, layouts = compiled(points=["voltage"], period_s=5, report={"policy": "on_change", "heartbeat_s": 900})
    assert (layouts[0].policy, layouts[0].period_s) == (Policy.ON_CHANGE, 900)


def test_second_summary_of_a_meter_counts_its_samples_under_another_name() -> None:
    group = {"points": ["current"], "report": {"policy": "aggregate", "every_s": 600}}
    _, layouts = compiled(points=["voltage"], report=SUMMARY, groups=[group])
    assert [columns(layout)[-1] for layout in layouts if not layout.on_demand] == ["samples", "samples_2"]


def test_factor_makes_a_pulse_counter_a_water_meter() -> None:
    factor = {"point": "pulses", "factor": "0.01", "quantity": "volume"}
    meter, layouts = compiled(points=["pulses"], factors=[factor])
    [point] = meter.points
    assert (point.scale, point.quantity, point.unit, point.kind) == (Decimal("0.01"), "volume", "m3", PointKind.COUNTER)
    assert point.rollover == Decimal("42949672.96")
    assert (layouts[0].points[0].quantity, layouts[0].points[0].unit) == ("volume", "m3")


def test_factor_of_a_transformer_multiplies_exactly() -> None:
    meter, _ = compiled(points=["current"], factors=[{"point": "current", "factor": "0.3"}])
    assert (meter.points[0].scale, meter.points[0].quantity) == (Decimal("0.03"), "current")


def test_gauges_make_room_for_counters_and_for_one_another() -> None:
    meters = [make_meter_config(f"m{n}", unit_id=n + 1, period_s=4, points=["voltage"]) for n in range(4)]
    meters.append(make_meter_config("counter", unit_id=9, period_s=4, points=["energy"]))
    plan = make_site_plan(meters, [PROFILE])
    assert [meter.groups[0].offset_ms for meter in plan.meters] == [0, 400, 800, 1_200, 0]


def test_meter_s_own_timing_wins_over_its_bus_s() -> None:
    meters = [
        make_meter_config("a", period_s=60, timeout_s=3),
        make_meter_config("b", period_s=60, unit_id=2, retries=0),
    ]
    plan = make_site_plan(meters, timeout_s=0.5, retries=2, pause_between_requests_s=0.1)
    assert [meter.timing for meter in plan.meters] == [Timing(3, 2, 0.1), Timing(0.5, 0, 0.1)]


def test_identity_of_a_device_is_planned_apart_from_its_scans() -> None:
    meter, _ = compiled()
    assert [planned.point.name for plan in meter.texts for planned in plan.request.points] == ["serial"]
    assert "serial" not in [point.name for point in meter.points]


def test_whole_meter_is_each_point_once() -> None:
    meter, _ = compiled(points=["voltage", "energy"], report=SUMMARY)
    assert names(whole_meter(meter)) == ["voltage", "energy"]


LONG = make_profile([make_point("v" * 60)])
FAULTS: dict[str, tuple[dict[str, Any], Profile, str]] = {
    "unknown point in a group": (
        {"groups": [{"points": ["voltag"]}]},
        PROFILE,
        r"\.groups\[0\]\.points: 'voltag' is no point .*did you mean 'voltage'\?\); correct or remove it",
    ),
    "text in a group": ({"groups": [{"points": ["serial"]}]}, PROFILE, r"groups\[0\]\.points: 'serial' .* is a text"),
    "summary shorter than its samples": (
        {"period_s": 60, "report": {"policy": "aggregate", "every_s": 30}},
        PROFILE,
        r"\.report\.every_s: 30 s is shorter than the sampling period of 60 s; sample more often",
    ),
    "factor of what is not read": (
        {"points": ["voltage"], "factors": [{"point": "pulses", "factor": 2}]},
        PROFILE,
        r"\.factors\[0\]\.point: 'pulses' is not read; add it to 'points' or remove the factor",
    ),
    "factor of an unknown point": (
        {"factors": [{"point": "pulse", "factor": 2}]},
        PROFILE,
        r"\.factors\[0\]\.point: 'pulse' is no point .*did you mean 'pulses'",
    ),
    "factor with an unknown quantity": (
        {"factors": [{"point": "pulses", "factor": 2, "quantity": "volum"}]},
        PROFILE,
        r"\.factors\[0\]\.quantity: 'volum' is no quantity .*did you mean 'volume'",
    ),
    "factor of a state": ({"factors": [{"point": "relay", "factor": 2}]}, PROFILE, r"'relay' is a state"),
    "factor into a text": (
        {"factors": [{"point": "pulses", "factor": 2, "quantity": "text"}]},
        PROFILE,
        r"'text' is no measured quantity",
    ),
    "writable that is not": (
        {"writable": [{"point": "voltage", "lowest": 0, "highest": 1}]},
        PROFILE,
        r"\.writable\[0\]\.point: 'voltage' of profile 'test-meter' can only be read; remove it",
    ),
    "writable text": (
        {"writable": [{"point": "serial", "lowest": 0, "highest": 1}]},
        PROFILE,
        r"'serial' of profile 'test-meter' is a text, and commands write numbers",
    ),
    "unknown writable": (
        {"writable": [{"point": "relais", "lowest": 0, "highest": 1}]},
        PROFILE,
        r"'relais' is no point .*did you mean 'relay'",
    ),
    "column twice": (
        {"points": ["voltage", "voltage_mean"], "report": SUMMARY},
        make_profile([make_point(), make_point("voltage_mean", address=1, quantity="flag", scale="1")]),
        r"the column 'voltage_mean' would stand twice; put one of the two into another group",
    ),
    "name too long": ({"report": SUMMARY}, LONG, r"'v+_mean' would have a name of more than 64 characters"),
    "too many columns": (
        {"report": SUMMARY},
        make_profile([make_point(f"v{n}", address=n) for n in range(250)]),
        r"a scan would have 1001 values, and 1000 is the most; choose fewer points or statistics",
    ),
}


@pytest.mark.parametrize(("meter", "profile", "message"), FAULTS.values(), ids=FAULTS)
def test_fault_names_file_key_and_remedy(meter: dict[str, Any], profile: Profile, message: str) -> None:
    with pytest.raises(InvalidSite, match=rf"^site\.toml: buses\[0\]\.meters\[0\].*{message}") as caught:
        compiled(profile, **meter)
    assert "\n" not in str(caught.value)


def test_writable_point_of_the_profile_is_taken() -> None:
    meter, _ = compiled(writable=[{"point": "relay", "lowest": 0, "highest": 1}])
    assert meter.config.writable[0].point == "relay"


def test_router_of_the_library_is_planned_with_its_texts() -> None:
    plan = make_site_plan([make_meter_config(profile="teltonika-rut-rutx-modbus")])
    texts = {planned.point.name for request in plan.meters[0].texts for planned in request.request.points}
    assert {"operator", "network_type", "sim_active", "wan_ip", "serial_number"} <= texts

"""What a bus has to carry is estimated from its characters, and what can never be kept is refused."""

import pytest
from site_factories import make_meter_config, make_point, make_profile, make_site_config, make_site_plan

from protocol.errors import InvalidSite
from protocol.profile import Profile
from protocol.site.compile import compile_site
from protocol.site.estimate import TURNAROUND_S, bus_load, find_impossible, find_tight
from protocol.site.plan import SitePlan

WIDE = make_profile([make_point(f"p{n}", address=n) for n in range(100)])
SERIAL = {"device": "/dev/ttyUSB0", "baud": 9600}


def serial_plan(*periods_s: float, profile: Profile = WIDE, **serial: object) -> SitePlan:
    meters = [make_meter_config(f"m{n}", unit_id=n, period_s=period_s) for n, period_s in enumerate(periods_s, 1)]
    return make_site_plan(meters, [profile], host=None, serial={**SERIAL, **serial})


def test_least_time_of_a_request_is_its_characters_and_two_silences() -> None:
    load = bus_load(serial_plan(60).buses[0])
    character_s = 10 / 9600
    assert load.cycle.least_s == pytest.approx((8 + 5 + 200 + 2 * 3.5) * character_s)
    assert load.cycle.expected_s == pytest.approx((8 + 5 + 200 + 3.5) * character_s + TURNAROUND_S)
    assert load.least_share == pytest.approx(load.cycle.least_s / 60)


def test_parity_and_pauses_cost_time() -> None:
    plain = bus_load(serial_plan(60).buses[0]).cycle.least_s
    assert bus_load(serial_plan(60, parity="E").buses[0]).cycle.least_s == pytest.approx(plain * 1.1)
    assert bus_load(serial_plan(60, turnaround_delay_ms=50).buses[0]).cycle.least_s == pytest.approx(plain + 0.05)
    slow = WIDE.model_copy(update={"modbus": WIDE.modbus.model_copy(update={"inter_frame_delay_ms": 200})})  # type: ignore[union-attr] # it has one
    assert bus_load(serial_plan(60, profile=slow).buses[0]).cycle.least_s > plain + 0.19


def test_cycle_longer_than_its_period_is_refused_with_what_costs_most_and_the_remedies() -> None:
    config = make_site_config(
        [make_meter_config(f"m{n}", unit_id=n, period_s=1) for n in range(1, 6)], [WIDE], host=None, serial=SERIAL
    )
    with pytest.raises(InvalidSite) as refused:
        compile_site(config, "site.toml")
    said = str(refused.value)
    assert said.startswith("site.toml: bus 'bus-1' needs at least 1.1 s for one cycle and its periods are 1 s")
    assert "so it would be busy 115% of the time" in said
    assert "m1 0.26 s" in said
    assert said.endswith("set a longer period_s, a higher baud rate, or read fewer points")


def test_different_periods_are_judged_by_how_busy_the_bus_is() -> None:
    assert find_impossible(serial_plan(0.5, 60, 60, 60)) is None
    with pytest.raises(InvalidSite, match=r"its periods are 0.2 to 60 s"):
        serial_plan(0.2, 60)


def test_what_usual_meters_will_not_keep_is_a_warning() -> None:
    plan = serial_plan(0.25)
    assert find_impossible(plan) is None
    [warning] = find_tight(plan)
    assert "bus 'bus-1' is expected to need 0.26 s for one cycle" in warning


def test_fast_devices_on_tcp_are_never_refused() -> None:
    meters = [make_meter_config(f"m{n}", unit_id=n, period_s=0.05) for n in range(1, 100)]
    plan = make_site_plan(meters, [WIDE])
    assert find_impossible(plan) is None
    assert len(find_tight(plan)) == 1

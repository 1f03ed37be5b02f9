"""Loads follow from seed, role and time alone, and energy is the integral of power."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.loads import Load, LoadSource, Role

NOON_S = 1_790_000_000 - 1_790_000_000 % 86_400 + 43_200
DAY_S = 86_400
times = st.floats(min_value=1_735_689_600, max_value=1_900_000_000)


@given(role=st.sampled_from(Role), at_s=times, later_s=st.floats(min_value=0, max_value=200_000))
def test_energy_never_falls(role: Role, at_s: float, later_s: float) -> None:
    load = Load(role, seed=1)
    assert load.energy_wh(at_s + later_s) >= load.energy_wh(at_s) - 1e-6


@pytest.mark.parametrize("role", Role)
def test_energy_is_the_integral_of_power(role: Role) -> None:
    load = Load(role, seed=3)
    midnight_s = NOON_S - DAY_S / 2
    summed_wh = sum(load.power_w(midnight_s + second + 0.5) for second in range(DAY_S)) / 3_600
    counted_wh = load.energy_wh(midnight_s + DAY_S) - load.energy_wh(midnight_s)
    assert counted_wh == pytest.approx(summed_wh, rel=0.005)


@pytest.mark.parametrize("role", Role)
def test_same_seed_plays_the_same_and_another_does_not(role: Role) -> None:
    moments = [NOON_S + 137 * step for step in range(300)]
    first, again, other = (Load(role, seed) for seed in (5, 5, 6))
    assert [first.phases(at_s) for at_s in moments] == [again.phases(at_s) for at_s in reversed(moments)][::-1]
    assert [first.power_w(at_s) for at_s in moments] != [other.power_w(at_s) for at_s in moments]


@pytest.mark.parametrize("role", [Role.HEATER, Role.AIR_CONDITIONER, Role.WATER])
def test_switching_loads_are_on_or_off(role: Role) -> None:
    load = Load(role, seed=1, rated_w=1_000)
    powers = [load.power_w(NOON_S + 10 * step) for step in range(2_000)]
    assert all(power == 0 or 950 < power < 1_050 for power in powers)
    assert 0 in powers
    assert max(powers) > 0


def test_sun_exports_by_day_and_rests_by_night() -> None:
    noon, night = Load(Role.PV, seed=1).phases(NOON_S)[0], Load(Role.PV, seed=1).phases(NOON_S + DAY_S / 2)[0]
    assert noon.power_w < -1_000
    assert noon.energy_import_wh == 0
    assert noon.energy_export_wh > 0
    assert night.power_w == 0


@pytest.mark.parametrize("role", Role)
def test_three_phases_share_one_load(role: Role) -> None:
    single, three = Load(role, seed=1).phases(NOON_S), Load(role, seed=1, phases=3).phases(NOON_S)
    assert sum(phase.power_w for phase in three) == pytest.approx(single[0].power_w)
    assert sum(phase.energy_import_wh for phase in three) == pytest.approx(single[0].energy_import_wh)
    assert all(220 < phase.voltage_v < 240 for phase in three)


def test_accelerated_time_begins_at_the_start() -> None:
    load, started_ms = Load(Role.SERVER, seed=1), NOON_S * 1_000
    real, fast = LoadSource(load, started_ms=started_ms), LoadSource(load, started_ms=started_ms, speed=60)
    assert fast.values(1, started_ms) == real.values(1, started_ms)
    assert fast.values(1, started_ms + 1_000) == real.values(1, started_ms + 60_000)


def test_values_agree_with_each_other() -> None:
    source = LoadSource(Load(Role.SERVER, seed=1))
    values = source.values(1, NOON_S * 1_000)
    assert values["voltage_l1_n"] * values["current_l1"] == pytest.approx(values["apparent_power_l1"])
    assert values["active_power_total"] / values["apparent_power_total"] == pytest.approx(values["power_factor_total"])
    assert 49.9 < values["frequency"] < 50.1


def test_counters_stood_at_zero_when_they_were_installed() -> None:
    load = Load(Role.HEATER, seed=1)
    assert [load.energy_wh(at_s) for at_s in (0.0, 1_735_689_600.0)] == [0, 0]
    months = [load.energy_wh(1_735_689_600 + 30 * DAY_S * month) for month in range(4)]
    assert all(earlier < later for earlier, later in itertools.pairwise(months))

from decimal import Decimal

import pytest
from sunspec_images import (
    NOT_IMPLEMENTED,
    ImageDevice,
    common,
    image,
    inverter_103,
    meter_203,
    read_profile,
    strings_160,
    uint32,
    values_from,
    values_of,
)

from protocol.library import default_points
from protocol.sunspec.device_profile import profile_from
from protocol.sunspec.walk import discover_steps, read_steps


def test_points_that_a_device_lacks_are_left_out() -> None:
    single_phase = inverter_103({4: 0xFFFF, 5: 0xFFFF, 11: 0xFFFF, 12: 0xFFFF, 28: NOT_IMPLEMENTED})
    values = values_from(single_phase)
    assert "current_l1" in values
    assert not {"current_l2", "voltage_l2_n", "temperature_heat_sink", "pv_current_dc"} & set(values)
    assert "exponent_103_dca" not in values


@pytest.mark.parametrize("state", [2, 8, 0xFFFF])
def test_sleeping_inverter_loses_no_points(state: int) -> None:
    asleep = inverter_103({14: NOT_IMPLEMENTED, 27: 0xFFFF, 38: state})
    profile = read_profile(image(common(), asleep, strings_160(("MPPT 1", 0xFFFF))))
    names = {point.name for point in profile.points}
    assert {"active_power_total", "pv_current_dc", "pv1_power"} <= names
    assert "not producing" in " ".join(profile.quirks)


def test_counters_that_never_counted_stay_while_another_of_their_kind_runs() -> None:
    values = values_from(meter_203({38: uint32(0), 40: uint32(0)}))
    assert values["energy_active_export_total"] is None
    assert "energy_active_export_l1" in values
    assert "energy_reactive_q1_total" not in values
    assert "energy_apparent_import_total" not in values


@pytest.mark.parametrize(
    ("reported", "scale"),
    [((9893, -2), Decimal("0.01")), ((9893, -4), Decimal(1)), ((1000, -3), None)],
    ids=["percentage", "ratio", "neither"],
)
def test_power_factor_is_settled_by_the_powers(reported: tuple[int, int], scale: Decimal | None) -> None:
    apparent = 2800 if scale else 14_000
    registers = image(common(), inverter_103({18: apparent, 22: reported}))
    profile = read_profile(registers)
    point = profile.get_point("power_factor_total")
    if scale is None:
        assert point.verify
        assert point not in default_points(profile)
    else:
        assert (point.scale, point.verify) == (scale, None)
        assert values_of(profile, registers)["power_factor_total"] == 0.9893


def test_power_factor_that_nobody_could_check_is_not_read_by_default() -> None:
    profile = read_profile(image(common(), inverter_103()), with_words=False)
    assert "power_factor_total" not in {point.name for point in default_points(profile)}


def test_model_that_the_device_refuses_has_no_points() -> None:
    device = ImageDevice(image(common(), inverter_103()))
    (found,) = device.drive(discover_steps(1))
    words = dict(device.drive(read_steps(found)).by_model)
    del words[found.models[1]]
    assert "active_power_total" not in {point.name for point in profile_from(found, words).points}

from collections.abc import Sequence
from decimal import Decimal

import pytest
from sunspec_images import (
    NOT_IMPLEMENTED,
    common,
    discover,
    float32,
    image,
    inverter_103,
    meter_203,
    model,
    read_profile,
    strings_160,
    uint32,
    values_from,
    values_of,
)

from protocol.library import default_points, get_profile
from protocol.manifest import PointKind
from protocol.profile import Access, RegisterType
from protocol.sunspec.definitions import get_model, model_ids
from protocol.sunspec.device_profile import name_apart, profile_from
from protocol.sunspec.walk import FoundModel, SunSpecDevice


def test_inverter_103_reads_in_our_words_and_units() -> None:
    values = values_from(inverter_103())
    assert values.items() >= {
        ("current_sum", 12.06),
        ("current_l1", 4.02),
        ("voltage_l1_l2", 399.4),
        ("voltage_l3_n", 230.4),
        ("active_power_total", 2770.0),
        ("frequency", 50.01),
        ("apparent_power_total", 2800.0),
        ("reactive_power_total", -410.0),
        ("power_factor_total", 0.9893),
        ("energy_active_export_total", 26_320_000.0),
        ("pv_current_dc", 7.12),
        ("pv_voltage_dc", 401.2),
        ("pv_power_dc", 2857.0),
        ("temperature_internal", 41.5),
        ("status", 4.0),
        ("events", 0.0),
        ("manufacturer", "Acme"),
        ("serial_number", "S1"),
    }


def test_inverter_103_reads_as_the_library_says_of_sunspec_devices() -> None:
    library = get_profile("fronius-sunspec")
    profile = read_profile(image(common("Fronius", "Symo 8.2-3-M"), inverter_103()))
    assert library.modbus is not None
    assert profile.modbus is not None
    for setting in ("function_codes", "byte_order", "word_order", "default_tcp_port", "max_registers_per_read"):
        assert getattr(profile.modbus, setting) == getattr(library.modbus, setting)
    assert set(profile.modbus.transports) == set(library.modbus.transports)
    assert (profile.category, profile.phases) == (library.category, 3)
    assert profile.id == "sunspec-fronius-symo-8-2-3-m"


def test_inverter_generates_in_the_positive_direction_and_counts_as_export() -> None:
    profile = read_profile(image(common(), inverter_103()))
    assert profile.get_point("active_power_total").sign == "+ = generation"
    energy = profile.get_point("energy_active_export_total")
    assert (energy.kind, energy.not_available, energy.rollover) == (PointKind.COUNTER, (0,), None)


def test_states_name_their_codes() -> None:
    profile = read_profile(image(common(), inverter_103()))
    assert (profile.get_point("status").values or "").startswith("1 off, 2 sleeping, 3 starting, 4 mppt")
    assert (profile.get_point("events").values or "").startswith("bit 0 ground fault, bit 1 dc over volt")


def test_float_inverter_reads_as_the_integer_one() -> None:
    values = {2: float32(12.06), 22: float32(2770), 24: float32(50), 26: float32(2800), 30: float32(98.93)}
    floats = model(113, 60, {**values, 32: float32(26_320_000), 48: 4})
    read = values_from(floats)
    assert (read["active_power_total"], read["energy_active_export_total"]) == (2770.0, 26_320_000.0)
    assert (read["power_factor_total"], read["current_sum"]) == (0.9893, 12.06)
    assert "voltage_l1_n" not in read  # every NaN says that it is not implemented


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_integer_model_goes_before_the_float_model_of_the_same_device(order: tuple[int, int]) -> None:
    both = (inverter_103({20: NOT_IMPLEMENTED}), model(113, 60, {22: float32(1), 28: float32(-411), 48: 4}))
    profile = read_profile(image(common(), *(both[index] for index in order)))
    assert profile.get_point("active_power_total").type is RegisterType.INT16
    assert profile.get_point("reactive_power_total").type is RegisterType.FLOAT32


def test_meter_203_counts_import_and_export() -> None:
    values = values_from(meter_203())
    assert values.items() >= {
        ("current_sum", 10.0),
        ("voltage_ln_avg", 230.1),
        ("voltage_ll_avg", 399.0),
        ("voltage_l3_l1", 399.1),
        ("frequency", 50.02),
        ("active_power_total", 2310.0),
        ("active_power_l3", 700.0),
        ("apparent_power_total", 2330.0),
        ("power_factor_l3", 1.0),
        ("energy_active_export_total", 1000.0),
        ("energy_active_import_total", 1_234_567.0),
    }


@pytest.mark.parametrize(
    ("manufacturer", "sign"),
    [("Fronius", "+ = import (from grid), - = export"), ("SolarEdge ", "+ = export, - = import (from grid)")],
)
def test_meter_says_what_positive_power_means_and_that_it_is_not_certain(manufacturer: str, sign: str) -> None:
    point = read_profile(image(common(manufacturer), meter_203())).get_point("active_power_total")
    assert point.sign == sign
    assert "does not define the sign" in (point.note or "")


def test_float_meter_213_reads_as_the_integer_one() -> None:
    meter = model(
        213, 124, {28: float32(-1500.5), 60: float32(7.5e6), 68: float32(12_345), 116: float32(9), 124: uint32(4)}
    )
    registers = image(common(), meter)
    profile = read_profile(registers)
    values = values_of(profile, registers)
    assert values["active_power_total"] == -1500.5
    assert values["energy_active_import_total"] == 12_345.0
    assert values["energy_reactive_q4_total"] == 9.0
    assert values["events"] == 4.0


def test_meter_beside_an_inverter_of_one_device_keeps_its_own_names() -> None:
    values = values_from(inverter_103(), meter_203())
    assert (values["active_power_total"], values["meter_active_power_total"]) == (2770.0, 2310.0)
    assert values["meter_energy_import_total"] == 1_234_567.0


def test_strings_of_model_160_are_numbered() -> None:
    values = values_from(inverter_103(), strings_160(("MPPT 1", 15_000), ("MPPT 2", 13_570)))
    assert (values["pv1_power"], values["pv2_power"]) == (1500.0, 1357.0)
    assert (values["pv1_name"], values["pv2_voltage"], values["pv2_current"]) == ("MPPT 1", 427.23, 1.0)
    assert values["pv2_energy_total"] == 8_927_372.25
    assert "pv3_power" not in values


def test_device_that_declares_fewer_strings_than_there_is_room_for_is_believed() -> None:
    assert "pv2_power" not in values_from(inverter_103(), strings_160(("a", 1), ("b", 2), declared=1))
    assert "pv2_power" in values_from(inverter_103(), strings_160(("a", 1), ("b", 2), declared=0xFFFF))


HYBRID = (inverter_103(), strings_160(("MPPT 1", 1), ("MPPT 2", 2), ("StCha 3", 26_098), ("StDisCha 4", 0)))


def test_battery_of_a_hybrid_is_told_from_strings_by_its_text() -> None:
    values = values_from(*HYBRID, manufacturer="Fronius")
    assert (values["battery_power_charge"], values["battery_power_discharge"]) == (2609.8, 0.0)
    assert values["battery_energy_charge_total"] == 8_927_372.25
    assert "pv3_power" not in values


def test_battery_of_a_fronius_hybrid_is_known_without_reading_it() -> None:
    storage = model(124, 24, {8: 80, 22: 0})
    values = values_from(*HYBRID, storage, manufacturer="Fronius", with_words=False)
    assert values["battery_power_charge"] == 2609.8
    assert values_from(*HYBRID, storage, with_words=False)["pv3_power"] == 2609.8


def test_storage_models_read_as_a_battery() -> None:
    values = values_from(model(124, 24, {8: (8050, 20, 4800, 4), 22: (-2, 0, -2), 12: (10_000, 5000), 25: -2}))
    assert (values["battery_soc"], values["battery_voltage"], values["battery_charge_status"]) == (80.5, 48.0, 4.0)
    assert (values["ctl_battery_discharge_rate"], values["ctl_battery_charge_rate"]) == (100.0, 50.0)
    bank: dict[int, int | Sequence[int]] = {
        11: 805,
        13: 99,
        14: uint32(70_000),
        34: 4812,
        44: -123,
        47: -592,
        56: -1,
        58: 0,
        59: -1,
        61: -1,
        63: 1,
    }
    values = values_from(model(802, 62, bank))
    assert (values["battery_soc"], values["battery_soh"], values["battery_cycles"]) == (80.5, 99.0, 70_000.0)
    assert (values["battery_voltage"], values["battery_current"]) == (481.2, -12.3)
    assert values["battery_power"] == -5920.0
    values = values_from(model(713, 7, {2: (1000, 500, 805, 980, 0, 1, -1)}))
    assert (values["battery_soc"], values["battery_energy_available"]) == (80.5, 5000.0)


def test_state_of_charge_is_offered_once_and_the_battery_itself_goes_first() -> None:
    control, bank = model(124, 24, {8: 50, 22: 0}), model(802, 62, {11: 51, 56: 0})
    profile = read_profile(image(common(), control, bank))
    values = values_of(profile, image(common(), control, bank))
    assert values["battery_soc"] == 51.0
    assert profile.category == "battery"


def test_second_battery_bank_has_a_number() -> None:
    values = values_from(model(802, 62, {11: 51, 56: 0}), model(802, 62, {11: 52, 56: 0}))
    assert (values["battery_soc"], values["battery_soc_2"]) == (51.0, 52.0)


def test_ac_measurement_701_reads_64_bit_counters() -> None:
    measured: dict[int, int | Sequence[int]] = {
        4: 3,
        10: 2770,
        17: uint32(50_010),
        19: (0, 1, 0, 2),
        41: 920,
        115: -3,
        116: 0,
        120: 1,
    }
    values = values_from(model(701, 153, measured))
    assert (values["frequency"], values["active_power_l1"]) == (50.01, 920.0)
    assert values["energy_active_export_total"] == (2**32 + 2) * 10


@pytest.mark.parametrize("factor", [NOT_IMPLEMENTED, 11, -11])
def test_value_without_a_usable_scale_factor_is_not_known(factor: int) -> None:
    registers = image(common(), inverter_103())
    profile = read_profile(registers)
    power = profile.get_point("active_power_total")
    registers[power.address + 1] = factor & 0xFFFF
    assert values_of(profile, registers)["active_power_total"] is None


def test_scale_factor_may_change_at_run_time() -> None:
    registers = image(common(), inverter_103())
    profile = read_profile(registers)
    address = profile.get_point("active_power_total").address
    registers |= {address: 3300, address + 1: 1}
    assert values_of(profile, registers)["active_power_total"] == 33_000.0


def test_one_scale_factor_is_one_point_that_others_share() -> None:
    profile = read_profile(image(common(), inverter_103()))
    sharing = {point.name for point in profile.points if point.exponent_point == "exponent_103_v"}
    assert sharing == {f"voltage_l{phase}_{other}" for phase, other in ("1n", "2n", "3n")} | {
        "voltage_l1_l2",
        "voltage_l2_l3",
        "voltage_l3_l1",
    }
    assert len({point.name for point in profile.points}) == len(profile.points)


def test_counter_without_a_scale_factor_rolls_over_at_its_width() -> None:
    values = {5: (0, 0, 0x0102, 0x0304)}
    point = read_profile(image(common(), model(122, 44, values))).get_point("energy_active_export_total")
    assert point.rollover == Decimal(2**64)


def test_settings_and_controls_are_writable_but_not_measured() -> None:
    profile = read_profile(image(common(), model(123, 24, {5: (100, 0, 0, 0, 0), 23: 0})))
    limit = profile.get_point("ctl_active_power_limit")
    assert (limit.access, limit.quantity, limit.exponent_point) == (
        Access.READ_WRITE,
        "power_limit",
        "exponent_123_wmaxlimpct",
    )
    assert default_points(profile) == ()


def test_value_and_scale_factor_can_always_come_from_one_answer() -> None:
    device = SunSpecDevice(40_000, 1, (FoundModel(1, 40_002, 66), FoundModel(701, 40_070, 153)), "Acme", "One")
    profile = profile_from(device)
    modbus = profile.modbus
    assert modbus is not None
    assert modbus.forbidden_ranges == ((40_002, 40_003), (40_070, 40_071))
    numbers = [point for point in profile.with_exponents(default_points(profile)) if point.address > 40_070]
    first, last = min(point.address for point in numbers), max(point.address + point.words for point in numbers)
    assert last - first <= modbus.max_registers_per_read
    assert modbus.max_hole == 124


@pytest.mark.parametrize("model_id", [model_id for model_id in model_ids() if model_id != 1])
def test_every_model_makes_a_valid_profile(model_id: int) -> None:
    definition = get_model(model_id)
    length = definition.fixed_words - 2 + sum(3 * group.words for group in definition.groups)
    registers = image(common(), model(model_id, length, {}))
    profile = read_profile(registers, with_words=False)
    assert any(point.quantity not in ("identity", "exponent", "setting") for point in profile.points)
    values = values_of(profile, registers)
    named = {"manufacturer", "device_model", "firmware_version", "serial_number", "cfg_unit_id"}
    assert all(value in (None, "") for name, value in values.items() if name not in named)


def test_models_without_a_definition_are_said_and_cost_no_request() -> None:
    profile = read_profile(image(common(), model(64_001, 7, {}), inverter_103(), end=()))
    quirks = " ".join(profile.quirks)
    assert "64001" in quirks
    assert "ended early" in quirks
    assert profile.get_point("active_power_total").address == 40_070 + 9 + 14


@pytest.mark.parametrize(
    ("manufacturer", "name", "profile_id"),
    [
        ("Fronius", "Symo GEN24 10.0", "sunspec-fronius-symo-gen24-10-0"),
        ("", "", "sunspec"),
        ("Ü & Co", "x" * 32, "sunspec-co-" + "x" * 32),
        ("m" * 32, "y" * 32, "sunspec-" + "m" * 32 + "-" + "y" * 19),
    ],
)
def test_profile_is_named_for_maker_and_model(manufacturer: str, name: str, profile_id: str) -> None:
    device = SunSpecDevice(40_000, 1, (FoundModel(1, 40_002, 66),), manufacturer, name)
    assert profile_from(device).id == profile_id


def test_devices_of_one_kind_share_a_profile_and_others_are_told_apart() -> None:
    one, same, other = (
        read_profile(image(common(serial=serial), inverter_103(changes)))
        for serial, changes in (("1", {}), ("2", {}), ("3", {33: NOT_IMPLEMENTED}))
    )
    assert [profile.id for profile in name_apart([one, other, same])] == [
        "sunspec-acme-one",
        "sunspec-acme-one-2",
        "sunspec-acme-one",
    ]


def test_aggregator_gives_each_of_its_devices_a_profile() -> None:
    registers = image(common("SolarEdge", "SE10K"), inverter_103(), common("SolarEdge", "E+I Meter"), meter_203())
    inverter, meter = (profile_from(device) for device in discover(registers))
    assert (inverter.id, inverter.category) == ("sunspec-solaredge-se10k", "pv_inverter")
    assert (meter.id, meter.category) == ("sunspec-solaredge-e-i-meter", "electricity_meter")
    assert values_of(meter, registers)["active_power_total"] == 2310.0

"""A meter shows its values as a device of its model does."""

import struct

import pytest
from factories import make_point, make_profile

from protocol.library import get_profile
from protocol.profile import Point, Profile, Table
from protocol.registers import decode
from simulator.faults import Fault, FaultKind
from simulator.identity import SERIAL_POINT, with_identity
from simulator.ledger import Ledger
from simulator.loads import Load, LoadSource, Role
from simulator.meter import FixedSource, SimulatedMeter
from simulator.modbus import Read, Refusal
from simulator.replay import AtEnd, Circuit, Pace, ReplaySource, load_rows
from simulator.unit import Visit


def make_meter(profile: Profile, values: dict[str, float]) -> SimulatedMeter:
    return SimulatedMeter(meter_id="meter", profile=profile, source=FixedSource(values))


def shown(meter: SimulatedMeter, name: str) -> object:
    point = meter.profile.get_point(name)
    return decode(point, meter.entries(Read(point.table, point.address, point.words), meter.open_frame(None)))


def test_integer_registers_round_to_their_scale() -> None:
    meter = make_meter(make_profile(make_point(scale="0.1")), {"voltage_l1_n": 230.16})
    assert shown(meter, "voltage_l1_n") == 230.2


def test_float_registers_round_to_what_the_display_shows() -> None:
    profile = get_profile("eastron-sdm120")
    source = LoadSource(Load(Role.SERVER, seed=1))
    meter = SimulatedMeter(meter_id="meter", profile=profile, source=source, now_ms=lambda: 1_790_000_000_123)
    decimals = {"voltage_l1_n": 1, "current_l1": 2, "active_power_total": 0, "energy_active_import_total": -1}
    for name, digits in decimals.items():
        value = shown(meter, name)
        assert isinstance(value, float)
        assert value == round(value, digits)


def test_counter_rolls_over() -> None:
    energy = make_point("energy", quantity="active_energy", rollover=10_000)
    assert shown(make_meter(make_profile(energy), {"energy": 12_345}), "energy") == 2_345


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (make_point(not_available=[0xFFFF]), None),
        (make_point(type="float32"), None),
        (make_point(), 0),
    ],
    ids=["pattern", "not a number", "zero"],
)
def test_value_that_is_not_there_shows_as_the_device_shows_it(point: Point, expected: float | None) -> None:
    assert shown(make_meter(make_profile(point), {}), "voltage_l1_n") == expected


def test_value_that_the_register_cannot_hold_is_not_there() -> None:
    assert (
        shown(make_meter(make_profile(make_point(not_available=[0xFFFF])), {"voltage_l1_n": -5}), "voltage_l1_n")
        is None
    )


def test_absent_phases_of_a_three_phase_meter_are_not_available() -> None:
    load = Load(Role.UPS, seed=1, phases=1)
    meter = SimulatedMeter(meter_id="ups", profile=get_profile("abb-b23-b24"), source=LoadSource(load))
    assert shown(meter, "voltage_l1_n") is not None
    assert shown(meter, "voltage_l2_n") is None


def test_bits_are_served() -> None:
    flag = make_point("flag", table="discrete_input", type="bool", quantity="flag", address=3)
    meter = make_meter(make_profile(flag), {"flag": 1})
    assert meter.entries(Read(Table.DISCRETE_INPUT, 3, 1), meter.open_frame(None)) == [1]


def test_written_value_stays_over_later_frames_and_reads_back() -> None:
    setpoint = make_point("setpoint", access="rw", not_available=[0xFFFF])
    meter = make_meter(make_profile(setpoint), {"setpoint": 20})
    assert meter.ask(struct.pack(">BHH", 6, 0, 55), Visit()).pdu == struct.pack(">BHH", 6, 0, 55)
    assert [shown(meter, "setpoint") for _ in range(2)] == [55, 55]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(FaultKind.DEAD, 20), (FaultKind.EXCEPTION, 20), (FaultKind.BAD_CRC, 55), (FaultKind.TRUNCATED, 55)],
)
def test_write_whose_answer_is_lost_may_have_been_done(kind: FaultKind, expected: float) -> None:
    meter = make_meter(make_profile(make_point("setpoint", access="rw")), {"setpoint": 20})
    meter.set_fault(Fault(kind, requests=1))
    meter.ask(struct.pack(">BHH", 6, 0, 55), Visit())
    assert shown(meter, "setpoint") == expected


def test_value_is_shown_before_its_exponent() -> None:
    energy = make_point("energy", quantity="active_energy", exponent_point="power")
    power = make_point("power", quantity="exponent", type="int16", address=1)
    meter = make_meter(make_profile(energy, power), {"energy": 123_400.0, "power": 2.0})
    assert (shown(meter, "energy"), shown(meter, "power")) == (1_234, 2)


def test_read_that_touches_an_absent_point_is_refused() -> None:
    there, absent = make_point("there"), make_point("absent", address=1)
    meter = SimulatedMeter(
        meter_id="meter", profile=make_profile(there, absent), source=FixedSource({}), absent=["absent"]
    )
    assert [meter.ask(struct.pack(">BHH", 3, 0, count), Visit()).pdu[0] for count in (1, 2)] == [3, 0x83]


def test_fault_ends_after_its_requests() -> None:
    meter = make_meter(make_profile(), {})
    meter.set_fault(Fault(FaultKind.DEAD, requests=2))
    assert [fault.kind if (fault := meter.meet_fault()) else None for _ in range(3)] == ["dead", "dead", None]


def test_meter_whose_data_ended_refuses_and_says_so() -> None:
    source = ReplaySource(load_rows(Circuit.KITCHEN)[:1], pace=Pace.FRAME, at_end=AtEnd.STOP)
    names = ("voltage_l1_n", "active_power_total")
    profile = with_identity(get_profile("eastron-sdm120"), names)
    meter = SimulatedMeter(meter_id="kitchen", profile=profile, source=source, points=names, ledger=Ledger(None))
    assert shown(meter, SERIAL_POINT) == 1
    assert not meter.has_ended
    with pytest.raises(Refusal):
        meter.open_frame(None)
    assert meter.has_ended

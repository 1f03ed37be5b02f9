"""A scan finds who is on a line or behind an address, under which settings, and says what it is."""

import asyncio

import pytest
from scanning import make_scanner, scan_line, scan_port

from demo.processes import free_port
from edge_agent.commissioning.fingerprint import Certainty
from edge_agent.commissioning.scan import ScanResult
from edge_agent.commissioning.scan_report import nothing_found, scan_report, scan_text
from edge_agent.commissioning.search_order import line_settings
from edge_agent.errors import BusUnreachable
from protocol.library import load_library
from protocol.line_config import Parity, SerialLine, Transport
from simulator.devices import make_device
from simulator.faults import Fault, FaultKind
from simulator.links import Gateway, SerialServer
from simulator.register_unit import RegisterUnit
from simulator.rtu import LineSettings
from simulator.serial_line import serial_line
from simulator.server import serve
from simulator.sunspec import SunSpecImage, model_words

FAST = LineSettings(baud=115_200)


def profiles_of(result: ScanResult) -> dict[int, list[str]]:
    return {unit.unit_id: [p.id for p in unit.profiles] for line in result.lines for unit in line.units}


def test_serial_line_is_found_at_its_own_speed_with_all_its_meters() -> None:
    meters = make_device("eastron-sdm630", meter_id="a"), make_device("orno-we504", meter_id="b", unit_id=2)
    said: list[str] = []
    with serial_line(*meters, settings=LineSettings(baud=19_200)) as line:
        result = scan_line(line.path, baud=None, said=said)
    assert profiles_of(result) == {1: ["eastron-sdm630"], 2: ["orno-we504"]}
    [found] = result.lines
    assert found.line.serial == SerialLine(device=line.path, baud=19_200)
    assert result.tried == ["9600 baud 8N1", "19200 baud 8N1"]
    text = scan_text(result)
    assert f"{line.path}: 19200 baud 8N1" in text
    assert "unit 1: eastron-sdm630 (Eastron SDM630-Modbus V2)" in text
    assert "voltage l1 n 2" in text
    assert "points answered" in text
    assert any("finding out what unit 2 is" in line for line in said)


def test_unit_ids_that_installers_give_are_called_once_the_setting_is_known() -> None:
    usual, other = make_device("eastron-sdm120", meter_id="a"), RegisterUnit(12, holding={5_000: 1})
    with serve(usual, other, link=Gateway(timeout_s=0.01)) as server:
        result = scan_port(server.port, unit_ids=None)
    assert sorted(profiles_of(result)) == [1, 12]


def test_models_that_share_their_registers_are_named_as_ambiguous() -> None:
    with serve(make_device("eastron-sdm120")) as server:
        [line] = scan_port(server.port, unit_ids=(1,)).lines
    [unit] = line.units
    assert unit.certainty is Certainty.AMBIGUOUS
    assert {unit.profiles[0].id, *(rival.profile.id for rival in unit.rivals)} == {"eastron-sdm120", "eastron-sdm230"}
    assert "fits as well: eastron-sdm230" in scan_text(ScanResult([line]))


def test_unit_without_a_profile_is_reported_as_unknown() -> None:
    with serve(RegisterUnit(1, holding={5_000: 1})) as server:
        result = scan_port(server.port, unit_ids=(1,))
    [unit] = result.lines[0].units
    assert unit.certainty is Certainty.UNKNOWN
    assert unit.profiles == ()
    assert "fits no profile of the library" in scan_text(result)


def test_gateway_shows_the_units_behind_it_and_not_the_silent_ones() -> None:
    meters = make_device("eastron-sdm630", meter_id="a"), make_device("chint-dtsu666", meter_id="b", unit_id=3)
    with serve(*meters, link=Gateway(timeout_s=0.02)) as server:
        result = scan_port(server.port, unit_ids=(1, 2, 3, 4))
    assert profiles_of(result) == {1: ["eastron-sdm630"], 3: ["chint-dtsu666"]}
    assert not result.lines[0].answers_any_unit_id


def test_device_that_answers_under_every_unit_id_is_shown_once() -> None:
    units = [RegisterUnit(n, holding=dict.fromkeys(range(10), 0), meter_id=f"m{n}") for n in (1, 2, 213)]
    with serve(*units) as server:
        result = scan_port(server.port)
    [found] = result.lines
    assert found.answers_any_unit_id
    assert [unit.unit_id for unit in found.units] == [1]
    assert "answers under every unit id" in scan_text(result)


def test_transparent_serial_server_is_recognised_by_its_framing() -> None:
    with serve(make_device("eastron-sdm630"), link=SerialServer()) as server:
        result = scan_port(server.port, unit_ids=(1,))
    [found] = result.lines
    assert found.line.transport is Transport.RTU_OVER_TCP
    assert profiles_of(result) == {1: ["eastron-sdm630"]}


def test_sunspec_device_describes_itself() -> None:
    image = SunSpecImage().add_common(manufacturer="Acme", model="Sun 5", serial="S77")
    image.add_model(103, model_words(103, {"W": 2770, "Hz": 50, "PhVphA": 230, "WH": 26_000, "St": 4}))
    with serve(image.unit()) as server:
        result = scan_port(server.port, unit_ids=(1,))
    [unit] = result.lines[0].units
    [(device, profile)] = unit.sunspec
    assert (device.serial, profile.id) == ("S77", "sunspec-acme-sun-5")
    assert "Acme Sun 5, serial number S77 (SunSpec)" in scan_text(result)
    assert scan_report(result)["lines"][0]["units"][0]["sunspec"][0]["models"] == [1, 103]


def test_range_asks_only_those_that_take_a_connection() -> None:
    with serve(make_device("chint-dtsu666")) as server:
        hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        result = asyncio.run(make_scanner(unit_ids=(1,)).scan_hosts(hosts, server.port))
    assert [line.line.host for line in result.lines] == ["127.0.0.1"]
    assert len(result.tried) == 3


def test_two_devices_with_one_unit_id_show_as_garbled_answers() -> None:
    with serial_line(make_device("eastron-sdm630"), settings=FAST) as line:
        line.set_fault("eastron-sdm630", Fault(FaultKind.BAD_CRC))
        result = scan_line(line.path, unit_ids=(1,))
    assert not result.lines
    assert result.garbled == ["115200 baud 8N1"]
    text = nothing_found(result, is_serial=True, units="1")
    assert "bytes came at 115200 baud 8N1, but no proper answer" in text
    assert "two devices may share a unit id" in text


def test_silence_says_what_was_tried_and_what_to_look_at() -> None:
    with serial_line(RegisterUnit(9, holding={0: 1}), settings=FAST) as line:
        result = scan_line(line.path, unit_ids=(1,))
    text = nothing_found(result, is_serial=True, units="1")
    assert "nobody answered (tried 1 settings from 115200 baud 8N1" in text
    assert "exchange A and B" in text


def test_settings_that_a_port_cannot_do_are_left_out() -> None:
    with serial_line(make_device("eastron-sdm630"), settings=FAST) as line:
        settings = [
            SerialLine(device=line.path, baud=115_200, parity=Parity.EVEN),
            SerialLine(device=line.path, baud=115_200),
        ]
        result = asyncio.run(make_scanner(unit_ids=(1,)).scan_serial(settings))
    assert result.impossible in (["115200 baud 8E1"], [])  # a kernel that knows parity on pseudo-terminals takes it
    assert profiles_of(result) == {1: ["eastron-sdm630"]}


def test_unreachable_host_says_why() -> None:
    with pytest.raises(BusUnreachable, match="refused"):
        scan_port(free_port())


def test_usual_settings_of_the_library_are_tried_first() -> None:
    settings = line_settings("/dev/ttyUSB0", load_library().values())
    assert (settings[0].baud, settings[0].parity) == (9600, Parity.NONE)
    assert len({(s.baud, s.parity, s.stop_bits) for s in settings}) == len(settings)
    assert {s.stop_bits for s in settings[:24]} == {1}
    fixed = line_settings("/dev/ttyUSB0", load_library().values(), baud=9600, parity=Parity.EVEN, stop_bits=1)
    assert fixed == (SerialLine(device="/dev/ttyUSB0", baud=9600, parity=Parity.EVEN),)

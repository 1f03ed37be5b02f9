"""Sites are loaded, refused with what is wrong, and compile to what an agent can read."""

from pathlib import Path

import pytest
from modbus_socket import Client
from rtu_client import RtuClient

from demo.processes import wait_until
from protocol.line_config import SerialLine, Transport
from protocol.site.read_plan import plan_reads
from protocol.site_config import SiteConfig
from simulator.errors import SimulatorError, SiteDescriptionError
from simulator.faults import Fault, FaultKind
from simulator.identity import SERIAL_POINT
from simulator.ledger import Ledger, ServedFrame, read_ledger
from simulator.rtu import rtu_frame
from simulator.server import MeterServer
from simulator.site import Playing, SimulatedSite, write_site_config
from simulator.site_description import load_site

NOW_MS = 1_790_000_000_000
WAIT_S = 10
METER = """
[[meters]]
id = "heater"
profile = "eastron-sdm120"
role = "heater"
"""

BUS = """
[[buses]]
id = "rs485"
transport = "rtu"
"""
PLAUSIBLE = '[[meters]]\nid = "device"\nprofile = "{}"\nplausible = true\n'
FAULT = """
[[faults]]
meter = "heater"
kind = "dead"
"""
ON_THE_BUS = METER + 'bus = "rs485"\nunit_id = 3\npoints = ["voltage_l1_n"]\n' + BUS
READ_VOLTAGE = bytes((4, 0, 0, 0, 4))


def make_site(name: str = "demo", ledger: Ledger | None = None, **playing: object) -> SimulatedSite:
    return SimulatedSite(load_site(name), Playing(**playing), ledger or Ledger(None), now_ms=NOW_MS)  # type: ignore[arg-type] # tests vary what they name


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(METER)
    return path


@pytest.mark.parametrize("name", ["demo", "replay"])
def test_shipped_site_compiles_to_a_configuration_that_an_agent_can_read(name: str, tmp_path: Path) -> None:
    site = make_site(name, period_s=2)
    site.start()
    config = site.site_config()
    site.stop()
    write_site_config(config, tmp_path / "agent" / "site.json")
    assert SiteConfig.model_validate_json((tmp_path / "agent" / "site.json").read_text()) == config
    profiles = {profile.id: profile for profile in config.profiles}
    for meter in (meter for bus in config.buses for meter in bus.meters):
        profile = profiles[meter.profile]
        assert profile.modbus is not None
        assert meter.points is not None
        assert meter.period_s == 2
        points = profile.with_exponents(profile.get_point(name) for name in meter.points)
        first = plan_reads(points, profile.modbus, meter.unit_id)[0]
        assert SERIAL_POINT in [planned.point.name for planned in first.points]


def test_demo_plays_six_roles_on_six_models() -> None:
    site = load_site("demo")
    assert len({meter.role for meter in site.meters}) == len({meter.profile for meter in site.meters}) == 6


def test_meters_of_one_bus_share_an_address() -> None:
    site = make_site()
    site.start()
    ports = {meter["meter"]: meter["port"] for meter in site.describe()}
    site.stop()
    assert ports["air-conditioner"] == ports["lighting"]
    assert len(set(ports.values())) == 5


def test_time_begins_where_the_ledger_does(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(ServedFrame(meter="mains", serial=1, served_at_ms=NOW_MS - 120_000, values={}))
    ledger.close()
    ledger = Ledger(tmp_path / "ledger.jsonl")
    # The ledger is two minutes old: the first frame of this run is the third row of the data.
    source = make_site("replay", ledger)._meters["mains"]._source
    values = source.values(1, NOW_MS)
    ledger.close()
    assert values is not None
    assert values["active_power_total"] == pytest.approx(5_374)


def test_scripted_fault_is_set_at_its_time() -> None:
    site = make_site()
    site.start()
    site.set_fault("pv", Fault(FaultKind.DEAD))
    fault = site.servers["pv"].meters["pv"].fault
    site.stop()
    assert fault == Fault(FaultKind.DEAD)


def test_meter_read_at_other_points_gets_a_profile_of_its_own(site_file: Path) -> None:
    site_file.write_text(METER + METER.replace("heater", "pump", 1) + 'points = ["current_l1"]\n')
    site_file.write_text(site_file.read_text().replace('role = "heater"', 'role = "water"'))
    site = make_site(str(site_file))
    site.start()
    profiles = [profile.id for profile in site.site_config().profiles]
    site.stop()
    assert profiles == ["eastron-sdm120-simulated", "eastron-sdm120-simulated-2"]


def test_serial_bus_is_played_and_configured(site_file: Path, tmp_path: Path) -> None:
    device = tmp_path / "by-id-0"
    site_file.write_text(ON_THE_BUS + f'baud = 19200\nstop_bits = 2\ndevice = "{device}"\n')
    ledger = Ledger(tmp_path / "ledger.jsonl")
    site = make_site(str(site_file), ledger)
    site.start()
    [bus] = site.site_config().buses
    assert bus.serial == SerialLine(device=str(device), baud=19_200, stop_bits=2)
    assert site.describe()[0]["device"] == str(device)
    with RtuClient(str(device), 19_200) as client:
        assert client.ask(3, READ_VOLTAGE, 13)[:3] == bytes((3, 4, 8))
    site.stop()
    ledger.close()
    [frame] = read_ledger(tmp_path / "ledger.jsonl")
    assert (frame.meter, frame.serial, frame.answered) == ("heater", 1, True)


def test_scripted_fault_reaches_a_serial_bus_at_its_time(site_file: Path) -> None:
    site_file.write_text(ON_THE_BUS + FAULT + "after_s = 0.01\nfor_s = 0.2\n")
    site = make_site(str(site_file))
    site.start()
    heater = site.servers["rs485"].meters["heater"]
    wait_until(lambda: heater.fault == Fault(FaultKind.DEAD), WAIT_S, "the fault")
    wait_until(lambda: heater.fault is None, WAIT_S, "the end of the fault")
    site.stop()


def test_serial_server_is_played_and_configured(site_file: Path) -> None:
    site_file.write_text(ON_THE_BUS.replace('"rtu"', '"rtu_over_tcp"'))
    site = make_site(str(site_file))
    site.start()
    [bus] = site.site_config().buses
    server = site.servers["rs485"]
    assert isinstance(server, MeterServer)
    client = Client(server)
    client.socket.sendall(rtu_frame(3, READ_VOLTAGE))
    assert client.exactly(13)[:3] == bytes((3, 4, 8))
    client.close()
    site.stop()
    assert (bus.transport, bus.port) == (Transport.RTU_OVER_TCP, server.port)


def test_any_device_is_played_plausibly_and_configured_by_the_library(site_file: Path) -> None:
    router = PLAUSIBLE.format("teltonika-rut-rutx-modbus")
    site_file.write_text(router + PLAUSIBLE.format("waveshare-modbus-rtu-io-8ch").replace("device", "inputs"))
    site = make_site(str(site_file))
    site.start()
    config = site.site_config()
    site.stop()
    assert config.profiles == ()
    assert [bus.meters[0].profile for bus in config.buses] == [
        "teltonika-rut-rutx-modbus",
        "waveshare-modbus-rtu-io-8ch",
    ]
    points = config.buses[0].meters[0].points
    assert points is not None
    assert "signal_rssi" in points


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("eastron-sdm120", "eastron-sdm12", "meter 'heater': profile 'eastron-sdm12' is unknown; did you mean"),
        ('role = "heater"', 'role = "toaster"', r"meters\.0\.role: "),
        ('role = "heater"', "", "set exactly one of 'role' and 'replays'"),
        ('role = "heater"', 'role = "heater"\ncolour = "red"', r"meters\.0\.colour: "),
        ('role = "heater"', 'role = "heater"\npoints = ["voltage_l9_n"]', "has no point 'voltage_l9_n'"),
        ("eastron-sdm120", "xy-md02", "choose an electricity meter"),
        (METER, METER + METER, "meter id 'heater' is used twice"),
        (METER, METER + '[[faults]]\nmeter = "pump"\nkind = "dead"', "names the meter 'pump'; there are heater"),
        ("[[meters]]", "[[meters", "is not TOML"),
        ('role = "heater"', 'role = "heater"\nplausible = true', "set exactly one of 'role' and 'replays', or"),
        (METER, PLAUSIBLE.format("teltonika-rutx-snmp"), "'teltonika-rutx-snmp' has no Modbus points to serve"),
        (METER, PLAUSIBLE.format("fronius-sunspec"), "'fronius-sunspec' has no Modbus points to serve"),
        (METER, METER + BUS.replace("rs485", "other"), "bus 'other' has no meter; name it as 'bus' of one"),
        (METER, METER + BUS + "baud = 100", r"buses\.0\.baud: "),
        (METER, METER + BUS.replace("rtu", "tcp") + "strict = true", "bus 'rs485': 'device' and 'strict' belong to"),
        (METER, METER + BUS.replace("rtu", "tcp") + "baud = 9600", "'baud' needs 'gateway_timeout_s'"),
        (METER, METER + BUS.replace("rtu", "tls"), "'tls' is not simulated from a file"),
        (METER, METER + BUS + "max_sessions = 1", "'max_sessions' does not fit transport 'rtu'"),
        (METER, METER + BUS + "gateway_timeout_s = 1", "'gateway_timeout_s' belongs to transport 'tcp'"),
        (METER, METER + FAULT.replace("dead", "bad_crc"), "'bad_crc' of meter 'heater' cannot happen on a bus of"),
    ],
)
def test_wrong_description_is_refused(site_file: Path, old: str, new: str, complaint: str) -> None:
    site_file.write_text(METER.replace(old, new))
    with pytest.raises(SiteDescriptionError, match=complaint):
        make_site(str(site_file))


def test_unknown_site_is_refused() -> None:
    with pytest.raises(SiteDescriptionError, match="'castle' is neither 'demo' nor 'replay', nor a readable file"):
        load_site("castle")


def test_configuration_is_written_as_json_only(tmp_path: Path) -> None:
    site = make_site()
    site.start()
    config = site.site_config()
    site.stop()
    with pytest.raises(SiteDescriptionError, match=r"name it \*.json"):
        write_site_config(config, tmp_path / "site.toml")


def test_ports_follow_the_base_and_a_taken_one_is_named() -> None:
    first = make_site()
    first.start()
    heater = first.servers["heater"]
    assert isinstance(heater, MeterServer)
    taken = heater.port
    second = make_site(port_base=taken)
    with pytest.raises(SimulatorError, match=f"port {taken} of 127.0.0.1 is in use"):
        second.start()
    first.stop()
    assert all(isinstance(server, MeterServer) for server in second.servers.values())

"""A fleet is many sites that share what they can and still differ in what they show."""

import json
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from modbus_socket import Client

from protocol.library import default_points
from protocol.profile import Profile
from protocol.registers import decode
from protocol.site.read_plan import plan_reads
from simulator.errors import SimulatorError, SiteDescriptionError
from simulator.faults import Fault, FaultKind
from simulator.fleet import Fleet, FleetDescription, allow_open_files
from simulator.identity import SERIAL_POINT
from simulator.ledger import Ledger, read_ledger
from simulator.server import MeterServer
from simulator.site import write_site_config

SITES, METERS = 12, 2
FIRST = IPv4Address("127.18.255.250")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.jsonl")
    yield made
    made.close()


@pytest.fixture
def fleet(ledger: Ledger) -> Iterator[Fleet]:
    made = Fleet(FleetDescription(sites=SITES, meters=METERS, first_address=FIRST), ledger)
    made.start()
    yield made
    made.stop()


def profile_of(fleet: Fleet) -> Profile:
    [profile] = fleet.site_config().profiles
    return profile


def read(server: MeterServer, profile: Profile, name: str, unit_id: int) -> object:
    point = profile.get_point(name)
    client = Client(server)
    pdu = client.ask(point.address, point.words, function_code=point.table.read_function_code, unit_id=unit_id)
    client.close()
    return decode(point, struct.unpack(f">{point.words}H", pdu[2:]))


def test_configuration_names_each_site_as_a_bus(fleet: Fleet, tmp_path: Path) -> None:
    config = fleet.site_config()
    assert [(bus.host, bus.port) for bus in config.buses] == [(str(FIRST + n), 15_020) for n in range(SITES)]
    assert [(server.host, server.port) for server in fleet.servers] == [(bus.host, bus.port) for bus in config.buses]
    assert [[meter.unit_id for meter in bus.meters] for bus in config.buses] == [[1, 2]] * SITES
    write_site_config(config, tmp_path / "site.json")
    # A meter names no points: the profile has just those that are played.
    assert "points" not in json.loads((tmp_path / "site.json").read_text())["buses"][0]["meters"][0]


def test_what_an_agent_reads_by_default_is_what_is_played(fleet: Fleet) -> None:
    profile = profile_of(fleet)
    assert len(profile.points) == len(default_points(profile)) == 20
    assert profile.modbus is not None
    first = plan_reads(default_points(profile), profile.modbus, 1)[0]
    assert SERIAL_POINT in [planned.point.name for planned in first.points]


def test_every_meter_of_every_site_shows_values_of_its_own(fleet: Fleet, tmp_path: Path) -> None:
    profile = profile_of(fleet)
    energies = [
        read(server, profile, "energy_active_import_total", unit_id) for server in fleet.servers for unit_id in (1, 2)
    ]
    assert len(set(energies)) == SITES * METERS
    assert list(read_ledger(tmp_path / "ledger.jsonl")) == []
    assert [read(fleet.servers[3], profile, SERIAL_POINT, 2) for _ in range(2)] == [1, 2]
    assert [(frame.meter, frame.serial) for frame in read_ledger(tmp_path / "ledger.jsonl")] == [
        ("site-00004-meter-2", 1),
        ("site-00004-meter-2", 2),
    ]


def test_sites_may_share_an_address_on_ports_of_their_own() -> None:
    description = FleetDescription(sites=3, first_address=None, port=19_020)
    assert list(description.addresses()) == [("127.0.0.1", 19_020), ("127.0.0.1", 19_021), ("127.0.0.1", 19_022)]


def test_taken_address_is_named(fleet: Fleet) -> None:
    again = Fleet(fleet.description, Ledger(None))
    with pytest.raises(SimulatorError, match=f"port 15020 of {FIRST} is in use"):
        again.start()
    assert again.servers == []


def test_too_few_open_files_are_refused_with_what_to_do() -> None:
    with pytest.raises(SimulatorError, match=r"simulate fewer sites, or raise the limit \(ulimit -Hn\)"):
        allow_open_files(1 << 62)


def test_the_last_sites_are_dead_and_the_others_answer_as_late_as_they_shall() -> None:
    description = FleetDescription(sites=3, meters=2, first_address=FIRST, dead=1, latency_s=0.3)
    made = Fleet(description, Ledger(None))
    made.start()
    try:
        faults = [[meter.fault for meter in server.meters.values()] for server in made.servers]
    finally:
        made.stop()
    slow, dead = Fault(FaultKind.SLOW, delay_s=0.3), Fault(FaultKind.DEAD)
    assert faults == [[slow, slow], [slow, slow], [dead, dead]]


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (FleetDescription(sites=3, dead=4), "--dead 4: there are only 3 sites"),
        (FleetDescription(sites=3, latency_s=1.0), "--latency 1: it must be less than 1 s"),
    ],
    ids=["dead", "latency"],
)
def test_what_a_fleet_cannot_do_is_refused(description: FleetDescription, message: str) -> None:
    with pytest.raises(SiteDescriptionError, match=message):
        Fleet(description, Ledger(None))

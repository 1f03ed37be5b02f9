"""Every profile of the library can be played, with values that a device of its kind may show."""

import math
import struct

import pytest
from modbus_socket import Client

from protocol.library import get_profile, load_library, profile_ids
from protocol.manifest import PointKind
from protocol.profile import Point, Profile
from protocol.quantities import get_quantity
from protocol.registers import Value, apply_exponents, decoder_for
from simulator.devices import ROUTER, make_device
from simulator.meter import SimulatedMeter
from simulator.modbus import Read, Refusal
from simulator.server import serve
from simulator.unit import Visit

NOON_MS = 1_790_000_000_000
MODBUS_PROFILES = [name for name in profile_ids() if (profile := get_profile(name)).modbus and profile.points]


def shown(device: SimulatedMeter, *points: Point) -> dict[str, Value]:
    """Read points one by one, as a client does."""
    modbus = device.profile.modbus
    assert modbus is not None
    values: dict[str, Value] = {}
    for point in points:
        entries = device._read(Read(point.table, point.address, point.words), None, Visit())
        values[point.name] = decoder_for(point, modbus)(entries)
    return apply_exponents(points, values)


def played(profile: Profile, unit_id: int) -> list[Point]:
    """List the points that are served under a unit id and share their registers with no other."""
    here = [point for point in profile.points if point.is_readable and point.unit_id in (None, unit_id)]
    return [
        point
        for point in here
        if not any(other is not point and other.table is point.table and _overlap(point, other) for other in here)
    ]


def _overlap(one: Point, other: Point) -> bool:
    return one.address < other.address + other.words and other.address < one.address + one.words


@pytest.mark.parametrize("profile_id", MODBUS_PROFILES)
def test_device_shows_a_possible_value_for_every_point(profile_id: str) -> None:
    device = make_device(profile_id, now_ms=lambda: NOON_MS)
    points = played(device.profile, device.unit_id)
    values = shown(device, *device.profile.with_exponents(points))
    for point in points:
        quantity, value = get_quantity(point.quantity), values[point.name]
        if point.is_text:
            assert value
            continue
        if not isinstance(value, float):
            # A meter for three phases that measures one.
            assert (point.name, value) == (point.name, None)
            assert load_library()[profile_id].phases != 1
            continue
        assert (quantity.lowest or -math.inf) <= value <= (quantity.highest or math.inf), point.name


def test_same_seed_and_time_give_the_same_values() -> None:
    points = get_profile("growatt-hybrid").points
    first, same = (make_device("growatt-hybrid", now_ms=lambda: NOON_MS) for _ in range(2))
    later = make_device("growatt-hybrid", now_ms=lambda: NOON_MS + 600_000)
    assert shown(first, *points) == shown(same, *points)
    assert shown(first, *points) != shown(later, *points)


def test_counters_grow() -> None:
    now_ms = [NOON_MS]
    device = make_device("tuf-2000m-heat-flow", now_ms=lambda: now_ms[0])
    counters = [point for point in device.profile.points if point.kind is PointKind.COUNTER]
    before = shown(device, *counters)
    now_ms[0] += 3_600_000
    after = shown(device, *counters)
    assert counters
    for name, value in before.items():
        later = after[name]
        assert isinstance(value, float)
        assert isinstance(later, float)
        assert later > value


def test_router_shows_network_position_and_use() -> None:
    router = make_device(ROUTER, given={"signal_rssi": -97.0}, now_ms=lambda: NOON_MS)
    names = ("operator", "network_type", "sim_active", "signal_rssi", "gps_latitude", "wan_ip", "uptime")
    values = shown(router, *(router.profile.get_point(name) for name in names))
    assert values["signal_rssi"] == -97
    assert values["network_type"] == "LTE"
    assert values["sim_active"] == "sim1"
    assert values["wan_ip"] == "10.64.12.7"
    assert values["operator"] == "Example Mobile"
    latitude, uptime = values["gps_latitude"], values["uptime"]
    assert isinstance(latitude, float)
    assert 51 < latitude < 54
    assert isinstance(uptime, float)
    assert uptime > 0


def test_field_that_a_router_lacks_is_an_illegal_address_as_long_as_it_lacks() -> None:
    router = make_device(ROUTER, absent={"gps_latitude", "gps_longitude"})
    latitude, satellites = (router.profile.get_point(name) for name in ("gps_latitude", "gps_satellites"))
    with pytest.raises(Refusal) as refused:
        shown(router, latitude)
    assert refused.value.code == 2
    assert shown(router, satellites)
    router.absent.clear()
    assert shown(router, latitude)


def test_value_that_changes_is_seen_at_the_next_read() -> None:
    given: dict[str, Value] = {"operator": "First"}
    router = make_device(ROUTER, given=given)
    operator = router.profile.get_point("operator")
    assert shown(router, operator) == {"operator": "First"}
    given["operator"] = "Second"
    assert shown(router, operator) == {"operator": "Second"}


def test_output_that_is_written_reads_back() -> None:
    with serve(make_device(ROUTER)) as server:
        client = Client(server)
        assert client.ask_pdu(struct.pack(">BHH", 6, 201, 1)) == struct.pack(">BHH", 6, 201, 1)
        assert client.ask(201, 1, function_code=3) == b"\x03\x02\x00\x01"
        assert client.ask_pdu(struct.pack(">BHHB2H", 16, 201, 2, 4, 0, 1)) == struct.pack(">BHH", 16, 201, 2)
        assert client.ask(201, 2, function_code=3) == b"\x03\x04\x00\x00\x00\x01"
        client.close()


@pytest.mark.parametrize(
    ("profile_id", "pdu", "expected"),
    [
        (ROUTER, struct.pack(">BHH", 6, 3, 1), b"\x86\x02"),
        (ROUTER, struct.pack(">BHHB3H", 16, 201, 3, 6, 0, 1, 2), b"\x90\x02"),
        (ROUTER, struct.pack(">BHH", 5, 201, 0xFF00), b"\x85\x01"),
        ("goodwe-et", struct.pack(">BHHB", 15, 0, 1, 1) + b"\1", b"\x8f\x01"),
        ("wellpro-wp8028", struct.pack(">BHHB", 15, 0, 1, 1) + b"\1", b"\x8f\x01"),
        ("eastron-sdm120", struct.pack(">BHH", 6, 12, 1), b"\x86\x01"),
        ("eastron-sdm120", struct.pack(">BHHBH", 16, 12, 1, 2, 1), b"\x90\x02"),
        ("moxa-iologik-e1240", struct.pack(">BHH", 3, 0, 126), b"\x83\x03"),
    ],
    ids=[
        "reading only",
        "beyond the outputs",
        "no coils",
        "no coils at all",
        "code not listed",
        "one word of two",
        "half a number",
        "too many",
    ],
)
def test_request_that_the_device_does_not_take_is_refused(profile_id: str, pdu: bytes, expected: bytes) -> None:
    assert make_device(profile_id).ask(pdu, Visit()).pdu == expected

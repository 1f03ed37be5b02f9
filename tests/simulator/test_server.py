"""Simulated meters speak Modbus TCP, and fail in every scripted way, on real sockets."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from modbus_socket import Client
from pymodbus.client import ModbusTcpClient

from demo.processes import accepts_connections
from protocol.library import get_profile
from protocol.profile import Order, Profile
from protocol.registers import decode
from simulator.errors import SimulatorError
from simulator.faults import Fault, FaultKind
from simulator.identity import SERIAL_POINT, with_identity
from simulator.ledger import Ledger, ServedFrame, read_ledger
from simulator.meter import FixedSource, SimulatedMeter
from simulator.server import MeterServer, serve
from simulator.tcp import LoopThread

WAIT_S = 10
POINTS = ("voltage_l1_n", "current_l1", "energy_active_import_total")
# The requests that an SDM120's planner makes of these points: voltage and serial, current, energy.
VOLTAGE, CURRENT, ENERGY = (0, 4), (6, 2), (72, 2)


def make_profile() -> Profile:
    return with_identity(get_profile("eastron-sdm120"), POINTS)


def make_meter(meter_id: str = "heater", *, unit_id: int = 1, ledger: Ledger | None = None) -> SimulatedMeter:
    source = FixedSource({"voltage_l1_n": 230.1, "current_l1": 4.25, "energy_active_import_total": 12_340})
    return SimulatedMeter(
        meter_id=meter_id, profile=make_profile(), source=source, unit_id=unit_id, points=POINTS, ledger=ledger
    )


def number(pdu: bytes, name: str, offset: int = 0) -> object:
    point = make_profile().get_point(name)
    words = struct.unpack_from(f">{point.words}H", pdu, 2 + 2 * offset)
    return decode(point, words, Order.BIG, Order.BIG)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.jsonl")
    yield made
    made.close()


@pytest.fixture
def server(ledger: Ledger) -> Iterator[MeterServer]:
    with serve(make_meter(ledger=ledger), make_meter("pump", unit_id=2, ledger=ledger)) as made:
        yield made


@pytest.fixture
def client(server: MeterServer) -> Iterator[Client]:
    made = Client(server)
    yield made
    made.close()


def served(tmp_path: Path) -> list[ServedFrame]:
    return list(read_ledger(tmp_path / "ledger.jsonl"))


def test_scan_is_of_one_frame_and_stands_in_the_ledger(client: Client, tmp_path: Path) -> None:
    for serial in (1, 2):
        pdu = client.ask(*VOLTAGE)
        assert number(pdu, "voltage_l1_n") == 230.1
        assert number(pdu, SERIAL_POINT, offset=2) == serial
        assert number(client.ask(*CURRENT), "current_l1") == 4.25
        assert number(client.ask(*ENERGY), "energy_active_import_total") == 12_340
    frames = served(tmp_path)
    assert [(frame.meter, frame.serial, frame.answered, frame.fault) for frame in frames] == [
        ("heater", 1, True, None),
        ("heater", 2, True, None),
    ]
    assert frames[0].values == {
        "voltage_l1_n": 230.1,
        "current_l1": 4.25,
        "energy_active_import_total": 12_340,
        SERIAL_POINT: 1,
    }


def test_two_clients_never_mix_their_scans(server: MeterServer, client: Client) -> None:
    heater = server.meters["heater"]
    assert isinstance(heater, SimulatedMeter)
    source = heater._source
    assert isinstance(source, FixedSource)
    client.ask(*VOLTAGE)
    source.now["current_l1"] = 9.5
    other = Client(server)
    other.ask(*VOLTAGE)
    assert number(client.ask(*CURRENT), "current_l1") == 4.25
    assert number(other.ask(*CURRENT), "current_l1") == 9.5
    other.close()


def test_meters_behind_one_address_are_told_apart(client: Client, tmp_path: Path) -> None:
    client.ask(*VOLTAGE, unit_id=2)
    assert client.ask(*VOLTAGE, unit_id=3) == b"\x84\x0b"
    assert [frame.meter for frame in served(tmp_path)] == ["pump"]


@pytest.mark.parametrize(
    ("request_of", "function_code", "exception"),
    [
        ((0, 4), 2, 1),
        ((0, 4), 6, 1),
        ((4, 4), 4, 2),
        ((65_535, 2), 4, 2),
        ((0, 81), 4, 3),
        ((0, 0), 4, 3),
    ],
    ids=["no bits", "no writing", "across a hole", "beyond the end", "too many", "none"],
)
def test_requests_that_the_device_does_not_take_are_refused(
    client: Client, request_of: tuple[int, int], function_code: int, exception: int
) -> None:
    assert client.ask(*request_of, function_code=function_code) == bytes((function_code | 0x80, exception))


def test_nonsense_ends_the_connection(client: Client) -> None:
    client.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises((EOFError, ConnectionResetError)):
        client.receive()


def test_a_library_client_reads_the_meter(server: MeterServer) -> None:
    with ModbusTcpClient(server.host, port=server.port, timeout=WAIT_S) as library:
        answer = library.read_input_registers(0, count=2, device_id=1)
    assert not answer.isError()
    assert decode(make_profile().get_point("voltage_l1_n"), answer.registers) == 230.1


@pytest.mark.parametrize("kind", [FaultKind.DEAD, FaultKind.TRUNCATED])
def test_withheld_answer_is_noted_as_such(server: MeterServer, client: Client, tmp_path: Path, kind: FaultKind) -> None:
    server.set_fault("heater", Fault(kind))
    client.send(*VOLTAGE)
    if kind is FaultKind.TRUNCATED:
        assert len(client.exactly(8)) == 8
    assert client.is_silent()
    [frame] = served(tmp_path)
    assert (frame.answered, frame.fault) == (False, kind)
    server.set_fault("heater", None)
    assert number(client.ask(*VOLTAGE), SERIAL_POINT, offset=2) == 2


def test_late_answer_arrives_before_that_of_the_next_request(server: MeterServer, client: Client) -> None:
    server.set_fault("heater", Fault(FaultKind.LATE, requests=1))
    client.send(*VOLTAGE)
    client.send(*VOLTAGE)
    answers = [client.receive() for _ in range(2)]
    assert [transaction_id for transaction_id, _, _ in answers] == [1, 2]
    assert [number(pdu, SERIAL_POINT, offset=2) for _, _, pdu in answers] == [1, 2]


def test_slow_answer_is_right(server: MeterServer, client: Client, tmp_path: Path) -> None:
    server.set_fault("heater", Fault(FaultKind.SLOW, delay_s=0.01))
    assert number(client.ask(*VOLTAGE), "voltage_l1_n") == 230.1
    [frame] = served(tmp_path)
    assert (frame.answered, frame.fault) == (True, "slow")


def test_exception_is_answered_for_as_many_requests_as_told(server: MeterServer, client: Client) -> None:
    server.set_fault("heater", Fault(FaultKind.EXCEPTION, exception_code=4, requests=2))
    assert [client.ask(*CURRENT) for _ in range(2)] == [b"\x84\x04"] * 2
    assert client.ask(*CURRENT)[0] == 4


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.WRONG_TRANSACTION, (2, 1, 4, 8)),
        (FaultKind.WRONG_UNIT_ID, (1, 2, 4, 8)),
        (FaultKind.WRONG_FUNCTION, (1, 1, 3, 8)),
        (FaultKind.SHORT, (1, 1, 4, 6)),
    ],
)
def test_mangled_answer(
    server: MeterServer, client: Client, tmp_path: Path, kind: FaultKind, expected: tuple[int, ...]
) -> None:
    server.set_fault("heater", Fault(kind))
    client.send(*VOLTAGE)
    transaction_id, unit_id, pdu = client.receive()
    assert (transaction_id, unit_id, pdu[0], pdu[1]) == expected
    assert len(pdu) == 2 + pdu[1]
    assert not served(tmp_path)[0].answered


def test_refused_address_comes_back(server: MeterServer, client: Client) -> None:
    server.set_fault("heater", Fault(FaultKind.REFUSED))
    with pytest.raises(ConnectionResetError):
        client.receive()
    assert not accepts_connections(server.port)
    server.set_fault("heater", None)
    again = Client(server)
    again.ask(*VOLTAGE)
    again.close()


def test_reset_counter_starts_again_at_zero(server: MeterServer, client: Client) -> None:
    client.ask(*VOLTAGE)
    server.set_fault("heater", Fault(FaultKind.COUNTER_RESET))
    client.ask(*VOLTAGE)
    assert number(client.ask(*ENERGY), "energy_active_import_total") == 0
    assert number(client.ask(*CURRENT), "current_l1") == 4.25


def test_serials_go_on_in_the_next_run(client: Client, tmp_path: Path) -> None:
    client.ask(*VOLTAGE)
    again = Ledger(tmp_path / "ledger.jsonl")
    with serve(make_meter(ledger=again)) as second:
        later = Client(second)
        assert number(later.ask(*VOLTAGE), SERIAL_POINT, offset=2) == 2
        later.close()
    again.close()


def test_port_in_use_is_named(server: MeterServer) -> None:
    loop = LoopThread("test")
    with pytest.raises(SimulatorError, match=f"port {server.port} of 127.0.0.1 is in use"):
        MeterServer([], loop=loop, port=server.port).start()
    loop.stop()

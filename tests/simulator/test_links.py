"""Units answer behind gateways, serial servers and TLS as they do there in the field."""

import select
import ssl
import struct
import time

import pytest
from certificates import modbus_tls_files
from modbus_socket import Client
from pymodbus import FramerType
from pymodbus.client import ModbusTcpClient

from demo.processes import wait_until
from simulator.faults import Fault, FaultKind
from simulator.links import Direct, Gateway, SerialServer
from simulator.register_unit import RegisterUnit
from simulator.rtu import LineSettings, line_limit, read_exchange, rtu_frame
from simulator.server import MeterServer, serve
from simulator.tls import device_context

WAIT_S = 10
FILES = modbus_tls_files()
READ = bytes((3, 0, 0, 0, 1))
NOBODY = b"\x83\x0b"


def make_unit(unit_id: int = 1, **changes: object) -> RegisterUnit:
    return RegisterUnit(unit_id, holding=dict.fromkeys(range(20), unit_id), writable=range(4), **changes)  # type: ignore[arg-type] # tests vary what they name


def answer(unit_id: int) -> bytes:
    return bytes((3, 2, 0, unit_id))


def slow_one_is_answered_first(server: MeterServer) -> bool:
    """Ask unit 2, then unit 1 from elsewhere; say whether the first answer is there when the second is."""
    slow, quick = Client(server), Client(server)
    slow.send_pdu(READ, unit_id=2)
    wait_until(lambda: server.counters.requests == 1, WAIT_S, "the slow unit's request")
    quick.ask_pdu(READ, unit_id=1)
    is_there = bool(select.select([slow.socket], [], [], 0)[0])
    slow.close()
    quick.close()
    return is_there


def test_gateway_says_that_a_dead_or_unknown_unit_did_not_answer() -> None:
    with serve(make_unit(1), make_unit(2), link=Gateway(timeout_s=0.05)) as server:
        server.set_fault("unit-2", Fault(FaultKind.DEAD))
        client = Client(server)
        assert [client.ask_pdu(READ, unit_id=unit_id) for unit_id in (1, 2, 3)] == [answer(1), NOBODY, NOBODY]
        client.close()


@pytest.mark.parametrize("kind", [FaultKind.DEAD, FaultKind.BAD_CRC, FaultKind.TRUNCATED, FaultKind.SLOW])
def test_gateway_may_stay_silent_itself(kind: FaultKind) -> None:
    with serve(make_unit(1), make_unit(2), link=Gateway(timeout_s=0.05, answers_for_silent=False)) as server:
        server.set_fault("unit-2", Fault(kind))
        client = Client(server)
        client.send_pdu(READ, unit_id=2)
        assert client.ask_pdu(READ, unit_id=1) == answer(1)
        client.close()


def test_slow_unit_behind_a_gateway_keeps_the_others_waiting() -> None:
    with serve(make_unit(1), make_unit(2, turnaround_s=0.1), link=Gateway(timeout_s=WAIT_S)) as server:
        assert slow_one_is_answered_first(server)


def test_slow_unit_that_is_asked_directly_keeps_nobody_waiting() -> None:
    with serve(make_unit(1), make_unit(2, turnaround_s=2 * WAIT_S)) as server:
        assert not slow_one_is_answered_first(server)


def test_line_behind_a_gateway_takes_its_time() -> None:
    settings = LineSettings(baud=9600)
    with serve(make_unit(), link=Gateway(settings=settings)) as server:
        client = Client(server)
        began = time.perf_counter()
        client.ask(0, 20, function_code=3)
        assert time.perf_counter() - began >= line_limit([read_exchange(20)], settings) - settings.silence_s
        client.close()


def test_serial_server_passes_frames_with_their_check() -> None:
    with serve(make_unit(1), make_unit(2), link=SerialServer()) as server:
        client = Client(server)
        for unit_id in (1, 2):
            client.socket.sendall(rtu_frame(unit_id, READ))
            assert client.exactly(7) == rtu_frame(unit_id, answer(unit_id))
        client.socket.sendall(rtu_frame(9, READ))
        assert client.is_silent()
        client.close()


def test_serial_server_is_read_and_written_by_a_library() -> None:
    with (
        serve(make_unit(), link=SerialServer()) as server,
        ModbusTcpClient(server.host, port=server.port, framer=FramerType.RTU, timeout=WAIT_S) as library,
    ):
        assert not library.write_registers(0, [7, 8], device_id=1).isError()
        assert not library.write_register(2, 9, device_id=1).isError()
        assert library.read_holding_registers(0, count=4, device_id=1).registers == [7, 8, 9, 1]
        assert library.write_register(19, 9, device_id=1).exception_code == 2


def test_broken_request_is_swallowed_up_to_the_next_silence() -> None:
    with serve(make_unit(), link=SerialServer()) as server:
        client = Client(server)
        client.socket.sendall(rtu_frame(1, READ)[:-1] + b"\0" + b"and more")
        assert client.is_silent()
        client.socket.sendall(rtu_frame(1, READ))
        assert client.exactly(7) == rtu_frame(1, answer(1))
        client.close()
    assert server.counters.crc_errors == 1


def test_function_that_nobody_knows_is_refused_by_the_unit() -> None:
    with serve(make_unit(), link=SerialServer()) as server:
        client = Client(server)
        client.socket.sendall(rtu_frame(1, bytes((43, 14, 1, 0))))
        assert client.exactly(5) == rtu_frame(1, bytes((43 | 0x80, 1)))
        client.close()


def test_broadcast_reaches_all_units_behind_a_serial_server() -> None:
    units = [make_unit(1), make_unit(2)]
    with serve(*units, link=SerialServer()) as server:
        client = Client(server)
        client.socket.sendall(rtu_frame(0, bytes((6, 0, 0, 0, 77))))
        for unit_id in (1, 2):
            client.socket.sendall(rtu_frame(unit_id, READ))
            assert client.exactly(7) == rtu_frame(unit_id, answer(77))
        client.close()


@pytest.mark.parametrize(
    ("link", "kind"), [(Direct(), FaultKind.BAD_CRC), (SerialServer(), FaultKind.WRONG_TRANSACTION)]
)
def test_fault_that_a_link_cannot_have_is_refused(link: Direct | SerialServer, kind: FaultKind) -> None:
    with serve(make_unit(), link=link) as server, pytest.raises(ValueError, match="cannot happen"):
        server.set_fault("unit-1", Fault(kind))


def test_refused_addresses_are_those_named_and_no_others() -> None:
    with serve(make_unit()) as server:
        server.set_fault("unit-1", Fault(FaultKind.EXCEPTION, exception_code=2, addresses=((5, 5), (10, 12))))
        client = Client(server)
        answers = {at: client.ask(*at, function_code=3)[0] for at in ((0, 5), (4, 2), (6, 4), (9, 2), (13, 7), (0, 20))}
        client.close()
    assert [at for at, function_code in answers.items() if function_code == 0x83] == [(4, 2), (9, 2), (0, 20)]


def test_several_faults_meet_the_requests_that_they_apply_to() -> None:
    with serve(make_unit()) as server:
        hole = Fault(FaultKind.EXCEPTION, exception_code=2, addresses=((5, 5),))
        server.set_faults("unit-1", hole, Fault(FaultKind.EXCEPTION, requests=1))
        client = Client(server)
        answers = [client.ask(address, 1, function_code=3) for address in (5, 0, 0, 5)]
        client.close()
    assert answers == [b"\x83\x02", b"\x83\x06", b"\x03\x02\x00\x01", b"\x83\x02"]


def test_connection_is_closed_instead_of_an_answer() -> None:
    with serve(make_unit()) as server:
        server.set_fault("unit-1", Fault(FaultKind.CLOSED, requests=1))
        client = Client(server)
        client.send_pdu(READ)
        assert client.socket.recv(1) == b""
        client.close()
        again = Client(server)
        assert again.ask_pdu(READ) == answer(1)
        again.close()


def test_session_beyond_the_last_is_dropped_until_one_ends() -> None:
    with serve(make_unit(), max_sessions=1) as server:
        first = Client(server)
        first.ask_pdu(READ)
        second = Client(server)
        with pytest.raises((EOFError, ConnectionResetError)):
            second.ask_pdu(READ)
        second.close()
        first.close()
        wait_until(lambda: _is_served(server), WAIT_S, "room for a session")
    assert server.counters.refused_sessions >= 1


def _is_served(server: MeterServer) -> bool:
    client = Client(server)
    try:
        return client.ask_pdu(READ) == answer(1)
    except (EOFError, OSError):
        return False
    finally:
        client.close()


def client_context(*, certificate: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=FILES / "ca.pem")
    if certificate is not None:
        context.load_cert_chain(FILES / f"{certificate}.pem", FILES / f"{certificate}.key")
    return context


def test_unit_is_read_inside_tls() -> None:
    with serve(make_unit(), tls=device_context(FILES / "device.pem", FILES / "device.key")) as server:
        client = Client(server, tls=client_context())
        assert client.ask_pdu(READ) == answer(1)
        client.close()


@pytest.mark.parametrize(("certificate", "is_known"), [("client", True), ("stranger", False), (None, False)])
def test_client_shows_a_certificate_where_one_is_demanded(*, certificate: str | None, is_known: bool) -> None:
    demanding = device_context(FILES / "device.pem", FILES / "device.key", client_ca=FILES / "ca.pem")
    with serve(make_unit(), tls=demanding) as server:
        # With TLS 1.3 the client learns of the refusal when it first reads.
        client = Client(server, tls=client_context(certificate=certificate))
        if is_known:
            assert client.ask_pdu(READ) == answer(1)
        else:
            with pytest.raises((EOFError, OSError)):
                client.ask_pdu(READ)
        client.close()


def test_written_coils_read_back() -> None:
    unit = RegisterUnit(coils=dict.fromkeys(range(10), 0), writable=range(10))
    with serve(unit) as server:
        client = Client(server)
        assert client.ask_pdu(struct.pack(">BHH", 5, 3, 0xFF00)) == struct.pack(">BHH", 5, 3, 0xFF00)
        assert client.ask_pdu(struct.pack(">BHHBB", 15, 4, 3, 1, 0b101)) == struct.pack(">BHH", 15, 4, 3)
        assert client.ask(0, 10, function_code=1) == bytes((1, 2, 0b01011000, 0))
        assert client.ask_pdu(struct.pack(">BHH", 5, 3, 1)) == b"\x85\x03"
        assert client.ask_pdu(struct.pack(">BHHBB", 15, 4, 9, 1, 0)) == b"\x8f\x03"
        assert client.ask_pdu(struct.pack(">BHHB", 16, 0, 1, 2) + b"\0\0") == b"\x90\x01"
        client.close()

"""Over Modbus TCP, only the very answer to a request is taken; everything else is no answer, or no proper one."""

import asyncio
from collections.abc import Callable

import pytest
from factories import make_point, make_profile
from modbus_buses import LONG_S, SHORT_S, read, run, tcp_bus
from scripted_modbus import (
    Asked,
    registers,
    scripted_server,
    with_bytes,
    with_registers,
    with_silence,
)

from edge_agent.bus.bus import ModbusBus
from edge_agent.errors import BusUnreachable, MeterGarbled, MeterRefused, MeterUnreachable
from protocol.profile import Table
from protocol.site.timing import Timing
from simulator.faults import Fault, FaultKind
from simulator.meter import FixedSource, SimulatedMeter
from simulator.server import serve


@pytest.mark.parametrize(
    ("table", "function_code"),
    [(Table.HOLDING_REGISTER, 3), (Table.INPUT_REGISTER, 4)],
)
def test_registers_are_read_with_the_function_of_their_table(table: Table, function_code: int) -> None:
    async def use() -> None:
        async with scripted_server(with_registers(17, 65535)) as server:
            bus = tcp_bus(server.port, timeout_s=LONG_S)
            assert await bus.read(unit_id=7, table=table, address=0x1234, count=2) == [17, 65535]
            bus.close()
            asked = server.asked[0]
            assert (asked.unit_id, asked.function_code, asked.address, asked.count) == (7, function_code, 0x1234, 2)

    asyncio.run(use())


@pytest.mark.parametrize(("table", "function_code"), [(Table.COIL, 1), (Table.DISCRETE_INPUT, 2)])
def test_bits_are_read_without_the_padding(table: Table, function_code: int) -> None:
    async def use(bus: ModbusBus) -> None:
        bits = await bus.read(unit_id=1, table=table, address=0, count=10)
        assert bits == [1, 0, 1, 0, 0, 0, 0, 1, 1, 0]

    def answer(asked: Asked) -> bytes:
        assert asked.function_code == function_code
        return asked.frame(b"\x02\x85\x01")

    run([with_bytes(answer)], use)


@pytest.mark.parametrize("code", [1, 2, 4, 6, 11, 255])
def test_exception_is_told_with_its_code_and_keeps_the_connection(code: int) -> None:
    refuse = with_bytes(lambda asked: asked.frame(bytes([code]), function_code=asked.function_code | 0x80))

    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterRefused, match=rf"unit 1 at .* refused .* with exception {code}") as caught:
            await read(bus)
        assert caught.value.exception_code == code
        assert await read(bus) == [5, 6]

    run([refuse, with_registers(5, 6)], use)


MISMATCHES: dict[str, tuple[Callable[[Asked], bytes], str]] = {
    "transaction id zero": (
        lambda asked: asked.frame(registers(9, 9), transaction_id=0),
        "answered with transaction id 0",
    ),
    "another function": (lambda asked: asked.frame(registers(9, 9), function_code=4), "answered function 4"),
    "exception of another function": (lambda asked: asked.frame(b"\x02", function_code=0x84), "answered function 132"),
    "exception zero": (lambda asked: asked.frame(b"\x00", function_code=0x83), "exception 0"),
    "too few registers": (lambda asked: asked.frame(registers(9)), "answered 2 bytes of values to a request for 4"),
    "too many registers": (
        lambda asked: asked.frame(registers(9, 9, 9)),
        "answered 6 bytes of values to a request for 4",
    ),
    "byte count beyond the frame": (lambda asked: asked.frame(b"\x04\x00\x09"), "cut short or too long"),
    "byte count before the end": (lambda asked: asked.frame(b"\x02\x00\x09\x00\x09"), "cut short or too long"),
    "no Modbus": (lambda _: b"SSH-2.0-OpenSSH_9.2\r\n", "no Modbus TCP frame"),
    "another protocol": (lambda asked: asked.frame(registers(9, 9), protocol_id=1), "no Modbus TCP frame"),
}


@pytest.mark.parametrize(("answer", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_answer_to_something_else_is_refused_at_once(answer: Callable[[Asked], bytes], message: str) -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterGarbled, match=message):
            await read(bus)
        assert await read(bus) == [5, 6]
        assert (bus.stats.garbled, bus.stats.timeouts, bus.stats.answers) == (1, 0, 1)

    run([with_bytes(answer), with_registers(5, 6)], use)


SKIPPED: dict[str, Callable[[Asked], bytes]] = {
    "an answer to transaction": lambda asked: asked.frame(registers(9, 9), transaction_id=asked.transaction_id + 7),
    "an answer of unit 2": lambda asked: asked.frame(registers(9, 9), unit_id=asked.unit_id + 1),
}


@pytest.mark.parametrize("stray", SKIPPED.values(), ids=SKIPPED)
def test_stray_answer_before_the_right_one_is_skipped_and_counted(stray: Callable[[Asked], bytes]) -> None:
    async def use(bus: ModbusBus) -> None:
        assert await read(bus) == [5, 6]
        assert bus.stats.drained_bytes == 13

    run([with_bytes(lambda asked: stray(asked) + asked.frame(registers(5, 6)))], use)


@pytest.mark.parametrize(("what", "stray"), SKIPPED.items(), ids=SKIPPED)
def test_stray_answer_alone_is_no_answer_and_is_told(what: str, stray: Callable[[Asked], bytes]) -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable, match=rf"did not answer within 0\.2 s; what came was {what}"):
            await read(bus)

    run([with_bytes(stray)], use, SHORT_S)


def test_unit_zero_takes_answers_of_unit_zero_only() -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable, match="what came was an answer of unit 3"):
            await read(bus, unit_id=0)
        assert await read(bus, unit_id=0) == [5, 6]

    run([with_bytes(lambda asked: asked.frame(registers(9, 9), unit_id=3)), with_registers(5, 6)], use, SHORT_S)


def test_answer_that_comes_after_the_timeout_is_never_taken_for_the_next() -> None:
    late: list[Callable[[], None]] = []

    async def hold_back(asked: Asked, writer: asyncio.StreamWriter) -> None:
        late.append(lambda: writer.write(asked.frame(registers(9, 9))))

    async def release_then_answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        late.pop()()
        writer.write(asked.frame(registers(5, 6)))

    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable, match=r"did not answer within 0\.2 s"):
            await read(bus)
        assert await read(bus) == [5, 6]

    run([hold_back, release_then_answer], use, SHORT_S)


def test_late_answer_within_one_connection_is_not_taken_for_the_next() -> None:
    async def answer_twice(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(asked.frame(registers(1, 1)) + asked.frame(registers(9, 9)))

    async def use(bus: ModbusBus) -> None:
        assert await read(bus) == [1, 1]
        assert await read(bus) == [5, 6]

    run([answer_twice, with_registers(5, 6)], use)


def test_answer_in_pieces_is_put_together() -> None:
    async def in_pieces(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for byte in asked.frame(registers(5, 6)):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async def use(bus: ModbusBus) -> None:
        assert await read(bus) == [5, 6]

    run([in_pieces], use)


def test_silence_ends_with_the_timeout_and_the_next_request_is_answered() -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable, match="did not answer"):
            await read(bus)
        assert await read(bus) == [5, 6]

    run([with_silence, with_registers(5, 6)], use, SHORT_S)


def test_cancelled_request_leaves_nothing_for_the_next() -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(bus), SHORT_S)
        assert await read(bus) == [5, 6]

    run([with_silence, with_registers(5, 6)], use)


UNUSABLE = [
    FaultKind.DEAD,
    FaultKind.LATE,
    FaultKind.WRONG_UNIT_ID,
    FaultKind.WRONG_TRANSACTION,
    FaultKind.WRONG_FUNCTION,
    FaultKind.WRONG_BYTE_COUNT,
    FaultKind.FOREIGN_BYTES,
    FaultKind.SHORT,
    FaultKind.TRUNCATED,
]


@pytest.mark.parametrize("kind", UNUSABLE)
def test_faulty_meter_never_gives_a_value_that_is_not_its_present_one(kind: FaultKind) -> None:
    source = FixedSource({"voltage_l1_n": 111.0})
    meter = SimulatedMeter(meter_id="meter", profile=make_profile(make_point()), source=source)

    async def use(bus: ModbusBus) -> None:
        for present in range(222, 224):
            meter.set_fault(Fault(kind, requests=1))
            with pytest.raises((MeterUnreachable, MeterGarbled)):
                await read(bus, address=0, count=1)
            source.now = {"voltage_l1_n": float(present)}
            assert await read(bus, address=0, count=1) == [present]

    async def inner(port: int) -> None:
        bus = tcp_bus(port, timeout_s=SHORT_S)
        try:
            await use(bus)
        finally:
            bus.close()

    with serve(meter) as server:
        asyncio.run(inner(server.port))


def test_slow_meter_is_waited_for() -> None:
    meter = SimulatedMeter(
        meter_id="meter", profile=make_profile(make_point()), source=FixedSource({"voltage_l1_n": 230.0})
    )
    meter.set_fault(Fault(FaultKind.SLOW, delay_s=2 * SHORT_S))

    async def inner(port: int) -> None:
        bus = tcp_bus(port, timeout_s=LONG_S)
        assert await read(bus, address=0, count=1) == [230]
        bus.close()

    with serve(meter) as server:
        asyncio.run(inner(server.port))


def test_request_is_repeated_as_often_as_the_meter_allows() -> None:
    async def use(bus: ModbusBus) -> None:
        assert await bus.read(
            unit_id=1, table=Table.HOLDING_REGISTER, address=0, count=2, timing=Timing(SHORT_S, retries=2)
        ) == [5, 6]
        assert (bus.stats.requests, bus.stats.timeouts, bus.stats.garbled) == (3, 1, 1)

    run([with_silence, with_bytes(lambda asked: asked.frame(registers(9))), with_registers(5, 6)], use)


def test_refusal_and_missing_connection_are_not_repeated() -> None:
    refuse = with_bytes(lambda asked: asked.frame(b"\x02", function_code=0x83))

    async def use() -> None:
        async with scripted_server(refuse) as server:
            bus = tcp_bus(server.port, retries=5)
            with pytest.raises(MeterRefused):
                await read(bus)
            bus.close()
            assert len(server.asked) == 1
        with pytest.raises(BusUnreachable):
            await read(bus)

    asyncio.run(use())

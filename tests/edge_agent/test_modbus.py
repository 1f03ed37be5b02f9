"""Only the very answer to a request is taken; everything else is a meter that did not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from factories import make_point, make_profile
from scripted_modbus import (
    Answer,
    Asked,
    registers,
    scripted_server,
    with_bytes,
    with_registers,
    with_silence,
)

from demo.processes import free_port
from edge_agent.errors import BusUnreachable, MeterRefused, MeterUnreachable
from edge_agent.modbus import ModbusBus, find_frame_fault
from protocol.profile import Table
from simulator.faults import Fault, FaultKind
from simulator.meter import FixedSource, SimulatedMeter
from simulator.server import serve

SHORT_S, LONG_S = 0.2, 30.0
"""A timeout that a test waits out, and one that it must never reach."""


def run(script: Sequence[Answer], use: Callable[[ModbusBus], Awaitable[None]], timeout_s: float = LONG_S) -> None:
    async def inner() -> None:
        async with scripted_server(*script) as server:
            bus = ModbusBus(host="127.0.0.1", port=server.port, timeout_s=timeout_s)
            try:
                await use(bus)
            finally:
                bus.close()

    asyncio.run(inner())


async def read(bus: ModbusBus, *, unit_id: int = 1, address: int = 100, count: int = 2) -> Sequence[int]:
    return await bus.read(unit_id=unit_id, table=Table.HOLDING_REGISTER, address=address, count=count)


@pytest.mark.parametrize(
    ("table", "function_code"),
    [(Table.HOLDING_REGISTER, 3), (Table.INPUT_REGISTER, 4)],
)
def test_registers_are_read_with_the_function_of_their_table(table: Table, function_code: int) -> None:
    async def use() -> None:
        async with scripted_server(with_registers(17, 65535)) as server:
            bus = ModbusBus(host="127.0.0.1", port=server.port, timeout_s=LONG_S)
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


def test_one_connection_serves_many_requests() -> None:
    async def use() -> None:
        async with scripted_server(with_registers(1, 2)) as server:
            bus = ModbusBus(host="127.0.0.1", port=server.port, timeout_s=LONG_S)
            for _ in range(5):
                await read(bus)
            bus.close()
            assert (server.connections, len(server.asked)) == (1, 5)

    asyncio.run(use())


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
    "too few registers": (lambda asked: asked.frame(registers(9)), "answered 1 values to a request for 2"),
    "too many registers": (lambda asked: asked.frame(registers(9, 9, 9)), "answered 3 values to a request for 2"),
    "byte count beyond the frame": (lambda asked: asked.frame(b"\x04\x00\x09"), "cut short or too long"),
    "byte count before the end": (lambda asked: asked.frame(b"\x02\x00\x09\x00\x09"), "cut short or too long"),
    "no Modbus": (lambda _: b"SSH-2.0-OpenSSH_9.2\r\n", "no Modbus TCP frame"),
    "another protocol": (lambda asked: asked.frame(registers(9, 9), protocol_id=1), "no Modbus TCP frame"),
}


@pytest.mark.parametrize(("answer", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_answer_to_something_else_is_refused_at_once(answer: Callable[[Asked], bytes], message: str) -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable, match=message):
            await read(bus)
        assert await read(bus) == [5, 6]

    run([with_bytes(answer), with_registers(5, 6)], use)


SKIPPED: dict[str, Callable[[Asked], bytes]] = {
    "an earlier transaction": lambda asked: asked.frame(registers(9, 9), transaction_id=asked.transaction_id + 7),
    "another unit": lambda asked: asked.frame(registers(9, 9), unit_id=asked.unit_id + 1),
}


@pytest.mark.parametrize("stray", SKIPPED.values(), ids=SKIPPED)
def test_stray_answer_before_the_right_one_is_skipped(stray: Callable[[Asked], bytes]) -> None:
    async def use(bus: ModbusBus) -> None:
        assert await read(bus) == [5, 6]

    run([with_bytes(lambda asked: stray(asked) + asked.frame(registers(5, 6)))], use)


@pytest.mark.parametrize("stray", SKIPPED.values(), ids=SKIPPED)
def test_stray_answer_alone_is_no_answer(stray: Callable[[Asked], bytes]) -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable, match="did not answer"):
            await read(bus)

    run([with_bytes(stray)], use, SHORT_S)


def test_unit_zero_takes_answers_of_unit_zero_only() -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable, match="answered as unit 3"):
            await read(bus, unit_id=0)
        assert await read(bus, unit_id=0) == [5, 6]

    run([with_bytes(lambda asked: asked.frame(registers(9, 9), unit_id=3)), with_registers(5, 6)], use)


def test_answer_that_comes_after_the_timeout_is_never_taken_for_the_next() -> None:
    """The late answer carries the next request's transaction id, as a connection of its own begins again at 1."""
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


def test_connection_closed_instead_of_an_answer_is_noticed_at_once() -> None:
    async def hang_up(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable, match="closed the connection"):
            await read(bus)
        assert await read(bus) == [5, 6]

    run([hang_up, with_registers(5, 6)], use)


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


def test_nobody_listening_is_a_fault_of_the_bus() -> None:
    async def use() -> None:
        port = free_port()
        bus = ModbusBus(host="127.0.0.1", port=port, timeout_s=LONG_S)
        with pytest.raises(BusUnreachable, match=f"no connection to 127.0.0.1:{port}: refused"):
            await read(bus)

    asyncio.run(use())


UNUSABLE = [
    FaultKind.DEAD,
    FaultKind.LATE,
    FaultKind.WRONG_UNIT_ID,
    FaultKind.WRONG_TRANSACTION,
    FaultKind.WRONG_FUNCTION,
    FaultKind.SHORT,
    FaultKind.TRUNCATED,
]


@pytest.mark.parametrize("kind", UNUSABLE)
def test_faulty_meter_never_gives_a_value_that_is_not_its_present_one(kind: FaultKind) -> None:
    source = FixedSource({"voltage_l1_n": 111.0})
    meter = SimulatedMeter(meter_id="meter", profile=make_profile(make_point()), source=source)

    async def use(bus: ModbusBus) -> None:
        for present in range(222, 226):
            meter.set_fault(Fault(kind, requests=1))
            with pytest.raises(MeterUnreachable):
                await read(bus, address=0, count=1)
            source.now = {"voltage_l1_n": float(present)}
            assert await read(bus, address=0, count=1) == [present]

    async def inner(port: int) -> None:
        bus = ModbusBus(host="127.0.0.1", port=port, timeout_s=SHORT_S)
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
        bus = ModbusBus(host="127.0.0.1", port=port, timeout_s=LONG_S)
        assert await read(bus, address=0, count=1) == [230]
        bus.close()

    with serve(meter) as server:
        asyncio.run(inner(server.port))


def test_frame_that_is_not_complete_yet_is_not_judged() -> None:
    whole = Asked(1, 1, 3, 0, 2).frame(registers(5, 6))
    for length in range(len(whole) + 1):
        assert find_frame_fault(whole[:length]) is None
    assert find_frame_fault(whole + whole) is None

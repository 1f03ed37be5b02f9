"""Over Modbus RTU, which has neither addresses of answers nor marks of frames, no answer is ever a wrong one."""

import asyncio
import fcntl
import os
import termios
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from demo.processes import wait_until
from edge_agent.bus.bus import ModbusBus
from edge_agent.errors import BusUnreachable, MeterGarbled, MeterRefused, MeterUnreachable
from protocol.line_config import LineConfig
from protocol.profile import Table
from protocol.site.timing import Timing
from simulator.faults import Fault, FaultKind
from simulator.links import SerialServer
from simulator.register_unit import RegisterUnit
from simulator.rtu import LineSettings
from simulator.serial_line import SimulatedLine, serial_line
from simulator.server import serve

FAST = LineSettings(baud=115_200)
SHORT_S, LONG_S = 0.2, 30.0
"""A timeout that a test waits out, and one that it must never reach."""

Use = Callable[[ModbusBus], Awaitable[None]]


def make_unit(unit_id: int = 1, value: int = 111) -> RegisterUnit:
    return RegisterUnit(unit_id, holding=dict.fromkeys(range(125), value), coils=dict.fromkeys(range(20), 1), writable=[3])  # fmt: skip


def serial_bus(device: str, timeout_s: float = LONG_S, *, baud: int = FAST.baud, **line: Any) -> ModbusBus:
    serial = {"device": device, "baud": baud}
    return ModbusBus(LineConfig.model_validate({"id": "line", "serial": serial, "timeout_s": timeout_s} | line))


def ask(bus: ModbusBus, use: Use) -> None:
    async def inner() -> None:
        try:
            await use(bus)
        finally:
            bus.close()

    asyncio.run(inner())


async def read(bus: ModbusBus, unit_id: int = 1, count: int = 2, timing: Timing | None = None) -> Sequence[int]:
    return await bus.read(unit_id=unit_id, table=Table.HOLDING_REGISTER, address=0, count=count, timing=timing)


@pytest.fixture
def units() -> dict[int, RegisterUnit]:
    return {unit_id: make_unit(unit_id, 100 + unit_id) for unit_id in (1, 2)}


@pytest.fixture
def line(units: dict[int, RegisterUnit]) -> Iterator[SimulatedLine]:
    with serial_line(*units.values(), settings=FAST, is_strict=True) as simulated:
        yield simulated


def test_units_of_one_port_are_read_in_turn(line: SimulatedLine) -> None:
    async def use(bus: ModbusBus) -> None:
        for _ in range(3):
            assert await read(bus, 1) == [101, 101]
            assert await read(bus, 2, count=125) == [102] * 125
            assert await bus.read(unit_id=1, table=Table.COIL, address=0, count=10) == [1] * 10
        assert bus.stats.connects == 1

    ask(serial_bus(line.path), use)
    assert (line.counters.answers, line.counters.crc_errors) == (9, 0)


@pytest.mark.parametrize("baud", [1_200, 9_600, 19_200, 115_200])
def test_silence_between_frames_is_kept_at_every_speed(baud: int) -> None:
    with serial_line(make_unit(), settings=LineSettings(baud=baud), is_strict=True) as line:

        async def use(bus: ModbusBus) -> None:
            for _ in range(3):
                await read(bus)

        ask(serial_bus(line.path, baud=baud), use)
        assert (line.counters.requests, line.counters.answers, line.counters.ignored_for_gap) == (3, 3, 0)


def test_timeout_begins_when_the_request_has_left_and_ends_for_the_answer_to_arrive() -> None:
    """At 300 baud, request and answer alone take 0.7 s."""
    with serial_line(make_unit(), settings=LineSettings(baud=300)) as line:

        async def use(bus: ModbusBus) -> None:
            assert await read(bus) == [111, 111]

        ask(serial_bus(line.path, SHORT_S, baud=300), use)


def test_refusal_and_write_pass(line: SimulatedLine) -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterRefused, match=r"refused holding_register 124..125 with exception 2"):
            await bus.read(unit_id=1, table=Table.HOLDING_REGISTER, address=124, count=2)
        await bus.write(unit_id=1, table=Table.HOLDING_REGISTER, address=3, words=[7])
        assert await bus.read(unit_id=1, table=Table.HOLDING_REGISTER, address=3, count=1) == [7]

    ask(serial_bus(line.path), use)


UNUSABLE = {
    FaultKind.DEAD: (MeterUnreachable, r"did not answer within 0\.2 s$"),
    FaultKind.LATE: (MeterUnreachable, r"did not answer within 0\.2 s$"),
    FaultKind.WRONG_UNIT_ID: (MeterUnreachable, "what came was an answer of unit 2"),
    FaultKind.WRONG_FUNCTION: (MeterGarbled, "answered function 4 to function 3"),
    FaultKind.WRONG_BYTE_COUNT: (MeterGarbled, "9 bytes that are no whole frame with a right check"),
    FaultKind.BAD_CRC: (MeterGarbled, "9 bytes that are no whole frame with a right check"),
    FaultKind.SHORT: (MeterGarbled, "answered 2 bytes of values to a request for 4"),
    FaultKind.TRUNCATED: (MeterUnreachable, "4 bytes came that are no whole answer"),
}


@pytest.mark.parametrize(("kind", "expected"), UNUSABLE.items(), ids=[kind.value for kind in UNUSABLE])
def test_faulty_unit_never_gives_a_value_that_is_not_its_present_one(
    kind: FaultKind, expected: tuple[type[Exception], str], line: SimulatedLine, units: dict[int, RegisterUnit]
) -> None:
    async def use(bus: ModbusBus) -> None:
        for present in range(222, 224):
            line.set_fault("unit-1", Fault(kind, requests=1))
            with pytest.raises(expected[0], match=expected[1]):
                await read(bus)
            units[1].tables[Table.HOLDING_REGISTER] = dict.fromkeys(range(125), present)
            assert await read(bus, 2) == [102, 102]
            assert await read(bus) == [present, present]
        assert bus.stats.connects == 1

    ask(serial_bus(line.path, SHORT_S), use)


def test_answer_behind_noise_is_found_and_the_noise_counted(line: SimulatedLine) -> None:
    line.set_fault("unit-1", Fault(FaultKind.FOREIGN_BYTES))

    async def use(bus: ModbusBus) -> None:
        assert await read(bus) == [101, 101]
        assert bus.stats.drained_bytes == 3

    ask(serial_bus(line.path), use)


def test_late_answers_of_several_requests_are_all_thrown_away(
    line: SimulatedLine, units: dict[int, RegisterUnit]
) -> None:
    line.set_fault("unit-1", Fault(FaultKind.LATE, requests=3))

    async def use(bus: ModbusBus) -> None:
        for _ in range(3):
            with pytest.raises(MeterUnreachable):
                await read(bus)
        units[1].tables[Table.HOLDING_REGISTER] = dict.fromkeys(range(125), 222)
        assert await read(bus) == [222, 222]
        assert bus.stats.drained_bytes == 3 * 9

    ask(serial_bus(line.path, SHORT_S), use)


def test_late_answer_to_a_longer_request_is_no_fault_of_the_next(line: SimulatedLine) -> None:
    line.set_fault("unit-1", Fault(FaultKind.LATE, requests=1))

    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable):
            await read(bus, count=20)
        assert await read(bus) == [101, 101]

    ask(serial_bus(line.path, SHORT_S), use)


def test_cancelled_request_leaves_nothing_for_the_next(line: SimulatedLine, units: dict[int, RegisterUnit]) -> None:
    line.set_fault("unit-1", Fault(FaultKind.SLOW, delay_s=0.2, requests=1))

    async def use(bus: ModbusBus) -> None:
        asking = asyncio.create_task(read(bus))
        await asyncio.to_thread(wait_until, lambda: line.counters.requests > 0, LONG_S, "the request")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        units[1].tables[Table.HOLDING_REGISTER] = dict.fromkeys(range(125), 222)
        assert await read(bus) == [222, 222]
        assert bus.stats.connects == 1

    ask(serial_bus(line.path, 0.5), use)
    assert line.counters.crc_errors == 0


def test_silent_unit_holds_up_the_others_for_its_own_timeout_only(line: SimulatedLine) -> None:
    line.set_fault("unit-1", Fault(FaultKind.DEAD))

    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable, match=r"within 0\.1 s"):
            await read(bus, timing=Timing(0.1))
        assert await read(bus, 2) == [102, 102]

    ask(serial_bus(line.path), use)


def test_unplugged_device_is_told_and_found_again(tmp_path: Path) -> None:
    link = tmp_path / "by-id"
    simulated = SimulatedLine([make_unit()], settings=FAST, link=link)

    async def use(bus: ModbusBus) -> None:
        with pytest.raises(BusUnreachable, match=f"no connection to {link}: the serial device is missing; plug it in"):
            await read(bus)
        for _ in range(2):
            simulated.start()
            assert await read(bus) == [111, 111]
            simulated.stop()
            with pytest.raises(BusUnreachable, match="serial device"):
                await read(bus)

    ask(serial_bus(str(link)), use)


def test_device_that_goes_while_a_request_is_under_way_is_told(line: SimulatedLine) -> None:
    line.set_fault("unit-1", Fault(FaultKind.DEAD))

    async def use(bus: ModbusBus) -> None:
        asking = asyncio.create_task(read(bus))
        await asyncio.to_thread(wait_until, lambda: line.counters.requests > 0, LONG_S, "the request")
        await asyncio.to_thread(line.stop)
        with pytest.raises(BusUnreachable, match="the serial device has gone; plug it in again"):
            await asking

    ask(serial_bus(line.path), use)


def test_port_is_shared_with_no_other_program(line: SimulatedLine) -> None:
    async def use(bus: ModbusBus) -> None:
        await read(bus)
        with pytest.raises(BusUnreachable, match="another program uses it; end that program"):
            await read(serial_bus(line.path))
        await read(bus)
        bus.close()
        other = serial_bus(line.path)
        await read(other)
        other.close()

    ask(serial_bus(line.path), use)


def test_port_that_another_program_has_locked_is_left_to_it(line: SimulatedLine) -> None:
    fd = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)

        async def use(bus: ModbusBus) -> None:
            with pytest.raises(BusUnreachable, match="another program uses it"):
                await read(bus)

        ask(serial_bus(line.path), use)
    finally:
        os.close(fd)


def test_what_is_no_serial_port_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.touch()

    async def use(bus: ModbusBus) -> None:
        with pytest.raises(BusUnreachable, match="it is no serial port; correct"):
            await read(bus)

    ask(serial_bus(str(plain)), use)


def test_speed_that_nothing_can_do_is_refused(line: SimulatedLine) -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(BusUnreachable, match="has no 12345 baud; correct"):
            await read(bus)

    ask(serial_bus(line.path, baud=12_345), use)


@pytest.mark.parametrize(("stop_bits", "is_set"), [(1, False), (2, True)])
def test_characters_are_set_as_configured(line: SimulatedLine, stop_bits: int, is_set: bool) -> None:  # noqa: FBT001 - a column of a table
    fd = os.open(line.path, os.O_RDWR | os.O_NOCTTY)

    async def use(bus: ModbusBus) -> None:
        await read(bus)
        _, _, control, local, speed, _, _ = termios.tcgetattr(fd)
        assert (bool(control & termios.CSTOPB), speed, local) == (is_set, termios.B115200, 0)

    serial = {"device": line.path, "baud": FAST.baud, "stop_bits": stop_bits}
    try:
        ask(serial_bus(line.path, serial=serial), use)
    finally:
        os.close(fd)


def test_line_that_never_falls_silent_is_told() -> None:
    ours, theirs = os.openpty()
    device = os.ttyname(theirs)

    async def use(bus: ModbusBus) -> None:
        async def babble() -> None:
            while True:
                os.write(ours, b"\x55")
                await asyncio.sleep(0.0005)

        babbling = asyncio.create_task(babble())
        with pytest.raises(MeterGarbled, match="does not fall silent: another program or device asks there too"):
            await read(bus)
        babbling.cancel()

    try:
        ask(serial_bus(device, serial={"device": device, "inter_frame_delay_ms": 50}), use)
    finally:
        os.close(ours)
        os.close(theirs)


def tcp_bus(port: int, timeout_s: float = LONG_S) -> ModbusBus:
    line = {"id": "line", "transport": "rtu_over_tcp", "host": "127.0.0.1", "port": port, "timeout_s": timeout_s}
    return ModbusBus(LineConfig.model_validate(line))


def test_serial_server_passes_frames_on(units: dict[int, RegisterUnit]) -> None:
    async def use(bus: ModbusBus) -> None:
        for _ in range(3):
            assert await read(bus, 1) == [101, 101]
            assert await read(bus, 2, count=125) == [102] * 125
        assert bus.stats.connects == 1

    with serve(*units.values(), link=SerialServer(settings=FAST)) as server:
        ask(tcp_bus(server.port), use)


@pytest.mark.parametrize("kind", [*UNUSABLE, FaultKind.CLOSED])
def test_fault_behind_a_serial_server_never_gives_an_old_value(kind: FaultKind, units: dict[int, RegisterUnit]) -> None:
    async def use(bus: ModbusBus) -> None:
        assert await read(bus, 2) == [102, 102]
        bus.close()
        for present in range(222, 224):
            server.set_fault("unit-1", Fault(kind, requests=1))
            with pytest.raises((MeterUnreachable, MeterGarbled)):
                await read(bus)
            units[1].tables[Table.HOLDING_REGISTER] = dict.fromkeys(range(125), present)
            assert await read(bus) == [present, present]
            bus.close()

    with serve(*units.values(), link=SerialServer(settings=FAST)) as server:
        ask(tcp_bus(server.port, SHORT_S), use)

"""A write over Modbus TCP is made once, and counts when the meter confirms it."""

import asyncio

import pytest
from modbus_buses import hang_up, read, run, tcp_bus, with_echo
from scripted_modbus import (
    scripted_server,
    with_bytes,
    with_registers,
)

from edge_agent.bus.bus import ModbusBus
from edge_agent.bus.pdu import write_request
from edge_agent.errors import MeterGarbled, MeterRefused, MeterUnreachable
from protocol.profile import Table
from simulator.register_unit import RegisterUnit
from simulator.server import serve


def test_write_is_not_repeated_on_a_connection_that_closed() -> None:
    async def use() -> None:
        async with scripted_server(with_registers(1, 2), hang_up, with_echo) as server:
            bus = tcp_bus(server.port, retries=3)
            await read(bus)
            with pytest.raises(MeterUnreachable, match="closed the connection instead of answering"):
                await bus.write(unit_id=1, table=Table.HOLDING_REGISTER, address=7, words=[1])
            bus.close()
            assert len(server.asked) == 2

    asyncio.run(use())


@pytest.mark.parametrize(
    ("table", "words", "function_code"),
    [
        (Table.COIL, [1], 5),
        (Table.HOLDING_REGISTER, [0xFFFF], 6),
        (Table.COIL, [1, 0, 0, 0, 0, 0, 0, 0, 1], 15),
        (Table.HOLDING_REGISTER, [1, 2], 16),
    ],
    ids=["one coil", "one register", "coils", "registers"],
)
def test_write_arrives_at_the_meter(table: Table, words: list[int], function_code: int) -> None:
    unit = RegisterUnit(3, holding=dict.fromkeys(range(20), 0), coils=dict.fromkeys(range(20), 0), writable=range(20))

    async def inner(port: int) -> None:
        bus = tcp_bus(port)
        await bus.write(unit_id=3, table=table, address=4, words=words)
        assert list(await bus.read(unit_id=3, table=table, address=4, count=len(words))) == words
        bus.close()

    assert write_request(unit_id=3, table=table, address=4, words=words).function_code == function_code
    with serve(unit) as server:
        asyncio.run(inner(server.port))


@pytest.mark.parametrize(
    "echo",
    [b"\x00\x08\x00\x2a", b"\x00\x07\x00\x2b", b"\x00\x07"],
    ids=["other address", "other value", "too short"],
)
def test_write_counts_only_when_the_meter_repeats_it(echo: bytes) -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterGarbled, match="did not confirm the write"):
            await bus.write(unit_id=1, table=Table.HOLDING_REGISTER, address=7, words=[42])
        await bus.write(unit_id=1, table=Table.HOLDING_REGISTER, address=7, words=[42])

    run([with_bytes(lambda asked: asked.frame(echo)), with_echo], use)


def test_write_that_the_meter_forbids_is_refused() -> None:
    async def inner(port: int) -> None:
        bus = tcp_bus(port)
        with pytest.raises(MeterRefused, match=r"refused holding_register 0..0 with exception 2"):
            await bus.write(unit_id=1, table=Table.HOLDING_REGISTER, address=0, words=[1])
        bus.close()

    with serve(RegisterUnit(1, holding={0: 0})) as server:
        asyncio.run(inner(server.port))

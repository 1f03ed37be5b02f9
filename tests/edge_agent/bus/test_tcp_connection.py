"""A connection over Modbus TCP is made when needed, kept, lost and ended without costing a proper answer."""

import asyncio
from typing import Any

import pytest
from modbus_buses import LONG_S, hang_up, read, run, tcp_bus
from scripted_modbus import (
    Answer,
    Asked,
    registers,
    scripted_server,
    with_bytes,
    with_registers,
)

from demo.processes import free_port
from edge_agent.bus.bus import ModbusBus
from edge_agent.errors import BusUnreachable, MeterUnreachable


def test_one_connection_serves_many_requests() -> None:
    async def use() -> None:
        async with scripted_server(with_registers(1, 2)) as server:
            bus = tcp_bus(server.port, timeout_s=LONG_S)
            for _ in range(5):
                await read(bus)
            bus.close()
            assert (server.connections, len(server.asked)) == (1, 5)

    asyncio.run(use())


def test_connection_closed_instead_of_an_answer_is_noticed_at_once() -> None:
    async def use(bus: ModbusBus) -> None:
        with pytest.raises(MeterUnreachable, match="closed the connection"):
            await read(bus)
        assert await read(bus) == [5, 6]

    run([hang_up, with_registers(5, 6)], use)


def test_answer_counts_when_the_connection_closes_right_behind_it() -> None:
    async def answer_and_hang_up(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(asked.frame(registers(5, 6)))
        writer.close()

    async def use(bus: ModbusBus) -> None:
        for _ in range(3):
            assert await read(bus) == [5, 6]
        assert bus.stats.connects == 3

    run([answer_and_hang_up], use)


def test_nobody_listening_is_a_fault_of_the_bus() -> None:
    async def use() -> None:
        port = free_port()
        bus = tcp_bus(port, timeout_s=LONG_S)
        with pytest.raises(BusUnreachable, match=f"no connection to 127.0.0.1:{port}: refused"):
            await read(bus)

    asyncio.run(use())


def test_connection_that_was_closed_while_it_stood_idle_is_made_anew_without_a_fault() -> None:
    """Routers close idle sessions, often just when the next poll is due."""

    async def use() -> None:
        async with scripted_server(with_registers(1, 2), hang_up, with_registers(5, 6)) as server:
            bus = tcp_bus(server.port)
            assert await read(bus) == [1, 2]
            assert await read(bus) == [5, 6]
            bus.close()
            assert server.connections == 2

    asyncio.run(use())


def test_callers_take_turns() -> None:
    async def use(bus: ModbusBus) -> None:
        answers = await asyncio.gather(*(read(bus) for _ in range(5)))
        assert answers == [[n, n] for n in range(5)]

    def counting(n: int) -> Answer:
        return with_bytes(lambda asked: asked.frame(registers(n, n)))

    run([counting(n) for n in range(5)], use)


def test_connection_is_ended_in_good_order() -> None:
    """A reset would leave a session open in some routers; they have few."""
    ends: list[bytes | Exception] = []

    async def use() -> None:
        ended = asyncio.Event()

        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await reader.readexactly(12)
            writer.write(request[:4] + b"\0\7" + request[6:8] + registers(5, 6))
            try:
                ends.append(await reader.read())
            except ConnectionError as error:
                ends.append(error)
            writer.close()
            ended.set()

        server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
        async with server:
            bus = tcp_bus(server.sockets[0].getsockname()[1], close_after_poll=True)
            assert await read(bus) == [5, 6]
            bus.close()
            await asyncio.wait_for(ended.wait(), LONG_S)

    asyncio.run(use())
    assert ends == [b""]


def test_bus_that_is_closed_under_a_request_tells_so_and_opens_again() -> None:
    asked = asyncio.Event()

    async def note(_: Asked, __: asyncio.StreamWriter) -> None:
        asked.set()

    async def use(bus: ModbusBus) -> None:
        asking = asyncio.create_task(read(bus))
        await asked.wait()
        bus.close()
        with pytest.raises(MeterUnreachable, match="closed by this agent"):
            await asking
        assert await read(bus) == [5, 6]

    run([note, with_registers(5, 6)], use)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"host": "no-such-host.invalid"}, "its name is not known"),
        ({"host": "127.0.0.1", "transport": "tls"}, "refused; see whether Modbus is enabled there"),
    ],
    ids=["unknown name", "nobody there"],
)
def test_missing_connection_is_explained(kind: dict[str, Any], message: str) -> None:
    async def use() -> None:
        with pytest.raises(BusUnreachable, match=message):
            await read(tcp_bus(free_port(), **kind))

    asyncio.run(use())

"""Buses over Modbus TCP, and gateways that do as a script says."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from scripted_modbus import (
    Answer,
    Asked,
    scripted_server,
)

from edge_agent.bus.bus import ModbusBus
from protocol.line_config import LineConfig
from protocol.profile import Table

SHORT_S, LONG_S = 0.2, 30.0
"""A timeout that a test waits out, and one that it must never reach."""


def tcp_bus(port: int, timeout_s: float = LONG_S, *, extra_pause_s: float = 0.0, **line: Any) -> ModbusBus:
    """Make a bus to a port of this machine."""
    config = LineConfig.model_validate({"id": "line", "host": "127.0.0.1", "port": port, "timeout_s": timeout_s} | line)
    return ModbusBus(config, extra_pause_s=extra_pause_s)


def run(script: Sequence[Answer], use: Callable[[ModbusBus], Awaitable[None]], timeout_s: float = LONG_S) -> None:
    """Use a bus to a server that answers each request as the script says."""

    async def inner() -> None:
        async with scripted_server(*script) as server:
            bus = tcp_bus(server.port, timeout_s=timeout_s)
            try:
                await use(bus)
            finally:
                bus.close()

    asyncio.run(inner())


async def read(bus: ModbusBus, *, unit_id: int = 1, address: int = 100, count: int = 2) -> Sequence[int]:
    """Read two holding registers."""
    return await bus.read(unit_id=unit_id, table=Table.HOLDING_REGISTER, address=address, count=count)


async def hang_up(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Close the connection instead of answering."""
    writer.close()


async def with_echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answer with what was asked, as to a write."""
    writer.write(asked.frame(asked.address.to_bytes(2) + asked.count.to_bytes(2)))

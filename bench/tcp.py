"""Modbus TCP requests per second: the agent's bus, with all its checks, beside bare pymodbus async.

Both ask the same simulated unit, in a process of its own, over one connection each, in turns.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.connection import Connection

from figures import report
from pymodbus.client import AsyncModbusTcpClient

from edge_agent.bus.bus import ModbusBus
from protocol.line_config import LineConfig
from protocol.profile import Table
from simulator.register_unit import RegisterUnit
from simulator.server import serve

REGISTERS = 60
RATIO_BAR = 0.8
_ROUNDS = 9
_START_S = 30.0


def main() -> int:
    """Measure both and print the figures; exit code 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000, help="requests in each of nine rounds [%(default)s]")
    requests = parser.parse_args().requests
    with unit_process() as port:
        rounds = asyncio.run(compare(port, requests))
    ours, bare = (statistics.median(rates) for rates in zip(*rounds, strict=True))
    report("tcp_requests_per_s", ours, "1/s", against=f"{bare:.0f} of bare pymodbus async, {REGISTERS} registers each")
    holds = report(
        "tcp_requests_ratio_to_pymodbus_async",
        statistics.median(our / its for our, its in rounds),
        "ratio",
        against="AsyncModbusTcpClient on the same unit, rounds in turn",
        at_least=RATIO_BAR,
    )
    return 0 if holds else 1


async def compare(port: int, requests: int) -> list[tuple[float, float]]:
    """Return requests per second, ours and theirs, of each round."""
    bus = ModbusBus(LineConfig(id="bench", host="127.0.0.1", port=port))
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()

    async def ask_ours() -> None:
        await bus.read(unit_id=1, table=Table.HOLDING_REGISTER, address=0, count=REGISTERS)

    async def ask_bare() -> None:
        await client.read_holding_registers(0, count=REGISTERS, device_id=1)

    async def rate(ask: Callable[[], Awaitable[None]]) -> float:
        began = time.perf_counter()
        for _ in range(requests):
            await ask()
        return requests / (time.perf_counter() - began)

    rounds = [(await rate(ask_ours), await rate(ask_bare)) for _ in range(_ROUNDS)]
    bus.close()
    client.close()
    return rounds


@contextlib.contextmanager
def unit_process() -> Iterator[int]:
    """Serve one unit from another process; give its port.

    Raises: TimeoutError when the process does not start.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_unit, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(_START_S):
            raise TimeoutError(f"the unit's process did not start in {_START_S:g} s")
        yield ours.recv()
    finally:
        ours.close()  # its end is what the process waits for
        process.join(_START_S)


def serve_unit(pipe: Connection) -> None:
    """Serve until the other end of the pipe closes."""
    with serve(RegisterUnit(1, holding={address: address for address in range(REGISTERS)})) as server:
        pipe.send(server.port)
        with contextlib.suppress(EOFError):
            pipe.recv()


if __name__ == "__main__":
    sys.exit(main())

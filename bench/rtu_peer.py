"""A plain pymodbus client on a serial port, as `bench/rtu.py` starts it in an environment with pyserial.

Usage: rtu_peer.py sync|async DEVICE BAUD SCANS COUNT[,COUNT...]
Prints one JSON line: seconds, and how many requests were answered and how many not.
"""

import asyncio
import json
import logging
import sys
import time

from pymodbus.client import AsyncModbusSerialClient, ModbusSerialClient
from pymodbus.exceptions import ModbusException

_TIMEOUT_S = 0.5


def main() -> None:
    """Read the counts again and again."""
    kind, device, baud, scans, counts = sys.argv[1:]
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    plan = [int(count) for count in counts.split(",")] * int(scans)
    measure = measure_sync if kind == "sync" else measure_async
    seconds, answered = measure(device, int(baud), plan)
    print(json.dumps({"seconds": seconds, "answered": answered, "unanswered": len(plan) - answered}))


def measure_sync(device: str, baud: int, plan: list[int]) -> tuple[float, int]:
    """Return the seconds that it took, and how many requests were answered."""
    client = ModbusSerialClient(device, baudrate=baud, timeout=_TIMEOUT_S, retries=0)
    client.connect()
    client.read_holding_registers(0, count=1, device_id=1)
    answered, began = 0, time.perf_counter()
    for count in plan:
        try:
            answered += not client.read_holding_registers(0, count=count, device_id=1).isError()
        except ModbusException:
            client.connect()
    seconds = time.perf_counter() - began
    client.close()  # type: ignore[no-untyped-call] # the library left out its type
    return seconds, answered


def measure_async(device: str, baud: int, plan: list[int]) -> tuple[float, int]:
    """Return the seconds that it took, and how many requests were answered."""

    async def measure() -> tuple[float, int]:
        client = AsyncModbusSerialClient(device, baudrate=baud, timeout=_TIMEOUT_S, retries=0)
        await client.connect()
        await client.read_holding_registers(0, count=1, device_id=1)
        answered, began = 0, time.perf_counter()
        for count in plan:
            try:
                answered += not (await client.read_holding_registers(0, count=count, device_id=1)).isError()
            except ModbusException:
                await client.connect()
        seconds = time.perf_counter() - began
        client.close()
        return seconds, answered

    return asyncio.run(measure())


if __name__ == "__main__":
    main()

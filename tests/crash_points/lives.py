"""Buffers in a bad way, for tests to begin with."""

import asyncio
import random
from pathlib import Path

from crash_points.power_cut import Contents, read_directory
from edge_factories import make_scans, opened

from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.schema import PAGE_BYTES

_SCANS_PER_CYCLE = 10


def left_by_a_power_cut(directory: Path, *, scans: int) -> Contents:
    """Return the files of a buffer whose agent was never stopped: some scans are in the write-ahead log only."""

    async def run() -> Contents:
        async with opened(directory) as buffer:
            for number in range(1, scans, _SCANS_PER_CYCLE):
                await buffer.append(make_scans(number, number + _SCANS_PER_CYCLE - 1, layout=1))
            return read_directory(directory)

    return asyncio.run(run())


def scribbled(content: bytes) -> bytes:
    """Return the content of a file, two pages in its middle turned into noise."""
    at = len(content) // 2 // PAGE_BYTES * PAGE_BYTES
    noise = random.Random(1).randbytes(2 * PAGE_BYTES)
    return content[:at] + noise + content[at + len(noise) :]


async def leave_to_the_file(buffer: Buffer) -> None:
    """Copy the write-ahead log into the file."""
    await buffer._run(lambda store: store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())


async def forget_pages(buffer: Buffer) -> None:
    """Let SQLite read every page from the disk again."""
    await buffer._run(lambda store: store.connection.execute("PRAGMA shrink_memory").fetchall())

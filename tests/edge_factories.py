"""Makers of the agent's objects: scans, and buffers that open and close themselves."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from factories import make_manifest

from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.opening import open_buffer
from protocol.manifest import Manifest
from protocol.ranges import Range
from protocol.scans import Entry, Gap, Scan

START_MS = 1_700_000_000_000
BOOT = b"boot-1".ljust(16)
MANIFEST = make_manifest((3, 20))
"""Layout 0 has 3 points, layout 1 has 20."""


def make_scan(number: int = 1, *, layout: int = 0, period_ms: int = 60_000, values: Sequence[float] = ()) -> Scan:
    """Make the scan that a meter gives in its `number`th period; its first value is the number."""
    points = 3 if layout == 0 else 20
    return Scan(
        layout, START_MS + number * period_ms, tuple(values) or (float(number), *[231.2 + n for n in range(points - 1)])
    )


def make_scans(first: int, last: int, *, layout: int = 0) -> list[Scan]:
    """Make the scans of a meter's periods from `first` to `last`."""
    return [make_scan(number, layout=layout) for number in range(first, last + 1)]


@asynccontextmanager
async def opened(
    directory: Path,
    *,
    manifest: Manifest = MANIFEST,
    max_bytes: int = 64 * 2**20,
    boot_id: bytes = BOOT,
    name: str = "buffer.sqlite",
) -> AsyncIterator[Buffer]:
    """Open the buffer of a data directory for one run of the agent."""
    buffer = open_buffer(
        directory / name, manifest=manifest, boot_id=boot_id, max_bytes=max_bytes, started_at_ms=START_MS
    )
    try:
        yield buffer
    finally:
        await buffer.close()


async def read_all(buffer: Buffer, stream_id: bytes) -> list[Entry]:
    """Read everything that a stream holds."""
    stream = next(stream for stream in await buffer.streams() if stream.stream_id == stream_id)
    if stream.next == 1:
        return []
    return list((await buffer.read(stream_id, Range(1, stream.next - 1))).entries)


def contents(entries: Sequence[Entry]) -> list[Scan | Gap]:
    """Return what the entries hold."""
    return [entry.content for entry in entries]

"""How full the buffer is."""

import os
from dataclasses import dataclass

from edge_agent.buffer.store import BufferStore


@dataclass(frozen=True, slots=True)
class BufferStats:
    """How full the buffer is, for health and for people."""

    held: int
    """Sequence numbers from the lowest held to the newest of all streams."""
    uncommitted: int
    """Sequence numbers that the hub had not confirmed when belief was last recorded."""
    oldest_ms: int | None
    """When the oldest entry was observed, UTC ms; None when there is none."""
    oldest_uncommitted_ms: int | None
    file_bytes: int
    used_bytes: int
    max_bytes: int
    disk_free_bytes: int
    held_for_clock: int = 0
    """How many of them wait for a trusted clock."""
    is_in_memory: bool = False
    """Whether it has taken refuge from a disk that takes nothing: a power cut would lose it."""


def stats_of(store: BufferStore, *, max_bytes: int, is_in_memory: bool) -> BufferStats:
    """Count what a store holds."""
    streams = list(store.streams.values())
    times = [store.observed_at_ms(stream, stream.lowest_held) for stream in streams]
    waiting = [
        store.observed_at_ms(stream, stream.outstanding.ranges[0].first) for stream in streams if stream.outstanding
    ]
    disk = os.statvfs(store.path.parent)
    return BufferStats(
        held=sum(stream.next - stream.lowest_held for stream in streams),
        uncommitted=sum(stream.outstanding.size for stream in streams),
        oldest_ms=next((time for time in times if time), None),
        oldest_uncommitted_ms=next((time for time in waiting if time), None),
        file_bytes=store.path.stat().st_size,
        used_bytes=store.used_bytes(),
        max_bytes=max_bytes,
        is_in_memory=is_in_memory,
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        held_for_clock=sum(stream.withheld.size for stream in streams),
    )

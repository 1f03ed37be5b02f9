"""Look into a buffer from outside, beside the agent that is writing it. Nothing is changed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_agent.buffer.store import BufferStore
from edge_agent.buffer.streams import StoredStream
from edge_agent.domain import scan_blob
from edge_agent.domain.scan_blob import Row, UnreadableRow
from edge_agent.errors import AgentError, BufferCorrupt
from protocol.ranges import Range
from protocol.scans import Gap, GapReason, Scan

_BUSY_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One run of the agent."""

    stream_id: str
    """In hexadecimal."""
    started_at_ms: int
    recorded: int
    """Sequence numbers given out."""
    committed: int
    """How many of them the hub's database had when the agent last heard of it."""
    outstanding: int
    lowest_held: int
    is_live: bool


@dataclass(frozen=True, slots=True)
class BufferReport:
    """What a buffer file holds."""

    path: str
    file_bytes: int
    """The file and its write-ahead log."""
    incarnation: int
    recorded: int
    committed: int
    outstanding: int
    held_for_clock: int
    """How many of those outstanding wait for a trusted clock."""
    oldest_ms: int | None
    """UTC ms of the oldest scan that is held."""
    newest_ms: int | None
    streams: tuple[StreamReport, ...]


@dataclass(frozen=True, slots=True)
class GapReport:
    """Scans that are missing for one reason."""

    reason: str
    scans: int
    from_ms: int
    """UTC ms of the first; 0 when unknown."""
    to_ms: int
    """UTC ms of the last; 0 when unknown."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a buffer file beside the agent that writes it; nothing is changed, and nothing checkpointed.

    Whoever reads long ends the transaction now and then, else the write-ahead log cannot be reused.
    Raises: AgentError when there is none; BufferCorrupt when it cannot be read.
    """
    if not path.is_file():
        raise AgentError(f"there is no buffer {path}: the agent has not run yet, or 'data_dir' names another directory")
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            connection.execute("BEGIN")  # one view of the file, whatever the agent writes meanwhile
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                raise AgentError(f"the buffer {path} is still being made: try again")
            yield connection
    except (sqlite3.Error, ValueError) as error:
        raise BufferCorrupt(
            f"the buffer {path} cannot be read ({error}): check the disk and the rights; the agent salvages it at its start"
        ) from error


def inspect_buffer(path: Path) -> BufferReport:
    """Report on a buffer file, whether its agent runs or not.

    Raises: AgentError when there is none; BufferCorrupt when it cannot be read.
    """
    with reading(path) as connection:
        return _report(BufferStore(connection, path), path)


def count_gaps(path: Path) -> tuple[GapReport, ...]:
    """Count the scans that are missing, by reason; reads the whole file.

    Raises: as `inspect_buffer` does.
    """
    counted: dict[GapReason, GapReport] = {}
    with reading(path) as connection:
        for row in connection.execute("SELECT layout, observed_at_ms, body FROM entries WHERE layout IS NULL"):
            try:
                gap = scan_blob.unpack(Row(*row))
            except UnreadableRow:
                continue
            if isinstance(gap, Gap):
                counted[gap.reason] = _with_gap(counted.get(gap.reason), gap)
    return tuple(counted[reason] for reason in sorted(counted))


def _with_gap(before: GapReport | None, gap: Gap) -> GapReport:
    if before is None:
        return GapReport(gap.reason.name.lower(), gap.count, gap.from_ms, gap.to_ms)
    from_ms = min(before.from_ms or gap.from_ms, gap.from_ms or before.from_ms)
    return GapReport(before.reason, before.scans + gap.count, from_ms, max(before.to_ms, gap.to_ms))


def _report(store: BufferStore, path: Path) -> BufferReport:
    held = list(store.streams.values())
    streams = tuple(_stream_report(stream, is_live=stream is held[-1]) for stream in held)
    files = (path, path.with_name(f"{path.name}-wal"))
    return BufferReport(
        path=str(path),
        file_bytes=sum(file.stat().st_size for file in files if file.exists()),
        incarnation=store.incarnation,
        recorded=sum(stream.recorded for stream in streams),
        committed=sum(stream.committed for stream in streams),
        outstanding=sum(stream.outstanding for stream in streams),
        held_for_clock=sum(stream.withheld.size for stream in held),
        oldest_ms=next(
            (at_ms for stream in held if (at_ms := _observed_at_ms(store, stream, stream.lowest_held))), None
        ),
        newest_ms=next(
            (at_ms for stream in reversed(held) if (at_ms := _observed_at_ms(store, stream, stream.next - 1))), None
        ),
        streams=streams,
    )


def _stream_report(stream: StoredStream, *, is_live: bool) -> StreamReport:
    recorded = stream.next - 1
    outstanding = stream.outstanding.size
    return StreamReport(
        stream_id=stream.stream_id.hex(),
        started_at_ms=stream.started_at_ms,
        recorded=recorded,
        committed=recorded - outstanding,
        outstanding=outstanding,
        lowest_held=stream.lowest_held,
        is_live=is_live,
    )


def _observed_at_ms(store: BufferStore, stream: StoredStream, sequence: int) -> int | None:
    if sequence < stream.lowest_held or sequence >= stream.next:
        return None
    content = store.read(stream.stream_id, Range(sequence, sequence)).entries[0].content
    return content.observed_at_ms if isinstance(content, Scan) else content.to_ms or None

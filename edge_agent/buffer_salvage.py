"""A damaged buffer: set aside, and what can be read of it brought into a new file.

Streams keep their ids and scans their numbers, so nothing is delivered twice; numbers between two
readable rows that cannot be read any more become gap records.
"""

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from edge_agent import buffer_schema
from edge_agent.buffer_schema import position_of, sequence_of
from edge_agent.buffer_store import BufferStore, StoredStream, parse_ranges
from edge_agent.domain import scan_blob
from edge_agent.domain.scan_blob import Row, UnreadableRow
from edge_agent.errors import BufferCorrupt
from protocol.ranges import Range, RangeSet
from protocol.scans import Entry, Gap, GapReason

_ROWS_PER_TRANSACTION = 1000
_SIDECARS = ("-wal", "-shm")

_RawRow = tuple[int, int | None, int, bytes]

log = structlog.get_logger()


class Damaged(NamedTuple):
    """What could be read of a damaged file."""

    streams: list[StoredStream]
    manifests: list[tuple[bytes, bytes]]
    incarnation: int


def open_or_salvage(path: Path) -> BufferStore:
    """Open the buffer; a damaged one is set aside and salvaged first.

    Raises: sqlite3.Error, BufferCorrupt; ValueError for a file of a newer release.
    """
    salvaged = _salvaged_path(path)
    if salvaged.exists() and not path.exists():
        # The power went between the two renames at the end of a salvage, when the new file was complete.
        salvaged.rename(path)
    try:
        return _open(path)
    except sqlite3.Error as error:
        if not buffer_schema.is_damage(error):
            raise
        return salvage(path, cause=str(error))


def salvage(path: Path, *, cause: str, known: Sequence[StoredStream] = ()) -> BufferStore:
    """Bring the readable rows of a damaged file into a new one, and set the damaged one aside.

    `known` are the streams as a running agent has them in memory; they win over what the file says.
    Raises: sqlite3.Error when the disk does not take the new file, BufferCorrupt when that is damaged too.
    """
    salvaged = _salvaged_path(path)
    _remove(salvaged)
    try:
        rows, unreadable = _copy(path, salvaged, known)
    except sqlite3.Error as error:
        if not buffer_schema.is_damage(error):
            raise
        raise BufferCorrupt(f"a new buffer {salvaged} is damaged at once ({error}): replace its disk") from error
    aside = _set_aside(path)
    salvaged.rename(path)
    buffer_schema.sync_directory(path.parent)
    log.error(
        "buffer_salvaged", path=str(path), set_aside=str(aside), cause=cause, rows=rows, unreadable_numbers=unreadable
    )
    return _open(path)


def _open(path: Path) -> BufferStore:
    connection = buffer_schema.connect(path)
    try:
        return BufferStore(connection, path)
    except BaseException:
        connection.close()
        raise


def _salvaged_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvaged")


def _remove(path: Path) -> None:
    for suffix in ("", *_SIDECARS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in (*_SIDECARS, ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _copy(path: Path, salvaged: Path, known: Sequence[StoredStream]) -> tuple[int, int]:
    """Copy what is readable; return how many rows came and how many numbers did not."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as damaged:
        store = _open(salvaged)
        with closing(store.connection):
            _copy_streams(_read_damaged(damaged, known), store)
            counts = [_copy_entries(damaged, store, stream) for stream in store.streams.values()]
            store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return sum(rows for rows, _ in counts), sum(lost for _, lost in counts)


def _read_damaged(damaged: sqlite3.Connection, known: Sequence[StoredStream]) -> Damaged:
    streams: dict[int, StoredStream] = {}
    for row in _readable(damaged, "SELECT number, stream_id, manifest_hash, boot_id, started_at_ms FROM stream_copies"):
        streams[row[0]] = StoredStream(*row)
    sql = (
        "SELECT number, stream_id, manifest_hash, boot_id, started_at_ms, next, committed, safe"
        " FROM streams ORDER BY number"
    )
    for row in _readable(damaged, sql):
        # Damaged cells may hold anything; the belief can be learnt anew, the stream's name is on its copy.
        with suppress(ValueError, TypeError):
            stream = StoredStream(*row[:5])
            stream.next, stream.committed, stream.safe = int(row[5]), parse_ranges(row[6]), parse_ranges(row[7])
            streams[stream.number] = stream
    for stream in known:
        streams[stream.number] = stream
    manifests = [(row[0], row[1]) for row in _readable(damaged, "SELECT hash, body FROM manifests")]
    incarnation = [row[0] for row in _readable(damaged, "SELECT value FROM state WHERE name = 'incarnation'")]
    return Damaged([streams[number] for number in sorted(streams)], manifests, max(incarnation, default=0))


def _readable(damaged: sqlite3.Connection, sql: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows until one cannot be read."""
    try:
        yield from damaged.execute(sql)
    except sqlite3.Error:
        return


def _copy_streams(damaged: Damaged, store: BufferStore) -> None:
    with store.transaction():
        for manifest_hash, body in damaged.manifests:
            store.put_manifest(manifest_hash, body)
        for stream in damaged.streams:
            store.put_stream(stream)
        store.put_state("incarnation", damaged.incarnation)


def _copy_entries(damaged: sqlite3.Connection, store: BufferStore, stream: StoredStream) -> tuple[int, int]:
    """Copy a stream's readable entries, and put gap records where outstanding ones are not readable."""
    rows = 0
    found: list[Range] = []
    entries = _surviving_entries(damaged, stream)
    while chunk := list(islice(entries, _ROWS_PER_TRANSACTION)):
        with store.transaction():
            for entry in chunk:
                store.insert(stream, entry)
        rows += len(chunk)
        _note(found, chunk)
    if found:
        stream.next = max(stream.next, found[-1].last + 1)
    unreadable = stream.outstanding - RangeSet(found)
    with store.transaction():
        for span in unreadable:
            store.insert(stream, Entry(span.first, Gap(span.size, GapReason.UNREADABLE, 0, 0)))
    store.refresh(stream)
    return rows, unreadable.size


def _note(found: list[Range], entries: Sequence[Entry]) -> None:
    for entry in entries:
        if found and found[-1].last + 1 == entry.sequence:
            found[-1] = Range(found[-1].first, entry.last_sequence)
        else:
            found.append(Range(entry.sequence, entry.last_sequence))


def _surviving_entries(damaged: sqlite3.Connection, stream: StoredStream) -> Iterator[Entry]:
    """Yield the entries whose rows and checksums hold, in order, none overlapping another."""
    expected = 1
    for position, layout, observed_at_ms, body in _surviving_rows(damaged, stream):
        try:
            entry = Entry(sequence_of(position), scan_blob.unpack(Row(layout, observed_at_ms, body)))
        except (UnreadableRow, TypeError, struct.error):
            # Damaged cells may even have another type than their column.
            continue
        if entry.sequence >= expected:
            yield entry
            expected = entry.last_sequence + 1


def _surviving_rows(damaged: sqlite3.Connection, stream: StoredStream) -> Iterator[_RawRow]:
    """Yield rows in order of position, stepping over pages that cannot be read."""
    at: int | None = position_of(stream.number, 1)
    last = position_of(stream.number + 1, 0) - 1
    while at is not None:
        try:
            for row in damaged.execute(
                "SELECT position, layout, observed_at_ms, body FROM entries WHERE position BETWEEN ? AND ?"
                " ORDER BY position",
                (at, last),
            ):
                if row[0] < at:
                    break
                yield row
                at = row[0] + 1
            else:
                return
        except sqlite3.Error:
            pass
        at = _next_readable(damaged, at, last)


def _next_readable(damaged: sqlite3.Connection, bad: int, last: int) -> int | None:
    """Return the first position above `bad` from which rows can be read; None when there is none."""
    step = 1
    while not _is_readable(damaged, bad + step, last):
        if bad + step > last:
            return None
        step *= 2
    low, high = bad + step // 2, bad + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_readable(damaged, middle, last) else (middle, high)
    return high


def _is_readable(damaged: sqlite3.Connection, position: int, last: int) -> bool:
    try:
        damaged.execute(
            "SELECT position, layout, observed_at_ms, body FROM entries WHERE position BETWEEN ? AND ?"
            " ORDER BY position LIMIT 1",
            (position, last),
        ).fetchone()
    except sqlite3.Error:
        return False
    return True

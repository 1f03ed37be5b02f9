"""What can still be read of a damaged buffer: first through SQLite, then from its pages as they lie there."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from edge_agent.buffer import held
from edge_agent.buffer.held import HeldRow
from edge_agent.buffer.raw_pages import RawRow, raw_rows
from edge_agent.buffer.schema import SEQUENCE_BITS, position_of, sequence_of
from edge_agent.buffer.streams import StoredStream, parse_ranges
from edge_agent.domain import scan_blob
from edge_agent.domain.scan_blob import Row, UnreadableRow
from protocol.identifiers import MANIFEST_HASH_BYTES, STREAM_ID_BYTES
from protocol.manifest import manifest_hash
from protocol.scans import Entry

_ENTRIES = "SELECT position, layout, observed_at_ms, body FROM entries"
_RUNS = "SELECT number, stream_id, manifest_hash, boot_id, started_at_ms FROM stream_copies"
_STREAMS = "SELECT number, stream_id, manifest_hash, boot_id, started_at_ms, next, committed, safe FROM streams ORDER BY number"
_RUN_COLUMNS, _STREAM_COLUMNS, _ENTRY_COLUMNS, _HELD_COLUMNS = 5, 8, 4, 5
_DAMAGED_CELL = (ValueError, TypeError, AttributeError)
"""Cells may hold anything, even another type than their column."""


class Damaged(NamedTuple):
    """What could be read of a damaged file, but for its scans."""

    streams: dict[int, StoredStream]
    """By number."""
    manifests: dict[bytes, bytes]
    """Canonical bytes by hash."""
    states: dict[str, int]
    """Numbers that outlive the process, by name."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a damaged file as far as SQLite will."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        # Else a file that lost its end would be refused as a whole.
        connection.execute("PRAGMA writable_schema = ON")
        connection.text_factory = bytes
        yield connection
    finally:
        connection.close()


def read_damaged(path: Path, damaged: sqlite3.Connection, known: Sequence[StoredStream]) -> Damaged:
    """Read all but the scans. `known` streams win over what the file says."""
    found = Damaged({}, {}, {})
    for row in _readable(damaged, _RUNS):
        _note_run(found, row)
    for row in _readable(damaged, _STREAMS):
        _note_stream(found, row)
    for row in _readable(damaged, "SELECT hash, body FROM manifests"):
        _note_manifest(found, row)
    for row in _readable(damaged, "SELECT name, value FROM state"):
        _note_state(found, row)
    if not found.streams:
        found = _read_raw(path)
    found.streams.update({stream.number: stream for stream in known})
    return found


def surviving_entries(damaged: sqlite3.Connection, stream: StoredStream, highest: int) -> Iterator[Entry]:
    """Yield the entries whose rows and checksums hold, in order, none overlapping another or above `highest`."""
    expected = 1
    for position, *row in _surviving_rows(damaged, _ENTRIES, stream):
        entry = _entry(position, row)
        if entry is not None and entry.sequence >= expected and entry.last_sequence <= highest:
            yield entry
            expected = entry.last_sequence + 1


def surviving_held(damaged: sqlite3.Connection, stream: StoredStream, highest: int) -> Iterator[tuple[HeldRow, Entry]]:
    """Yield what waits for the clock, likewise."""
    expected = 1
    for row in _surviving_rows(damaged, held.SELECT, stream):
        found = _held(row)
        if found is not None and found[1].sequence >= expected and found[1].last_sequence <= highest:
            yield found
            expected = found[1].last_sequence + 1


def raw_entries(path: Path) -> Iterator[tuple[int, Entry]]:
    """Yield all entries of the file in no order, with the number of their stream; some may be older than they should."""
    for rowid, columns in raw_rows(path):
        if len(columns) == _ENTRY_COLUMNS and columns[0] is None and rowid > 0:
            entry = _entry(rowid, columns[1:])
            if entry is not None:
                yield rowid >> SEQUENCE_BITS, entry


def raw_held(path: Path) -> Iterator[tuple[int, HeldRow, Entry]]:
    """Yield all of the file that waits for the clock, likewise; some of it may have had its time long since."""
    for rowid, columns in raw_rows(path):
        if len(columns) == _HELD_COLUMNS and columns[0] is None and rowid > 0:
            found = _held((rowid, *columns[1:]))
            if found is not None:
                yield rowid >> SEQUENCE_BITS, *found


def _held(columns: Sequence[Any]) -> tuple[HeldRow, Entry] | None:
    position, layout, monotonic_ms, body, wall_ms = columns
    row = HeldRow(position, layout, monotonic_ms, body, wall_ms if isinstance(wall_ms, int) else 0)
    try:
        return row, row.entry()
    except UnreadableRow:
        return None


def _entry(position: int, row: Sequence[Any]) -> Entry | None:
    try:
        return Entry(sequence_of(position), scan_blob.unpack(Row(*row)))
    except UnreadableRow:
        return None


def _read_raw(path: Path) -> Damaged:
    """Read from the pages what the schema leads to no more."""
    found = Damaged({}, {}, {})
    runs: list[RawRow] = []
    for row in raw_rows(path):
        match row.columns:
            case (None, bytes(), bytes(), bytes(), int(), *_) if len(row.columns) in (_RUN_COLUMNS, _STREAM_COLUMNS):
                runs.append(row)
            case (bytes(), bytes()):
                _note_manifest(found, row.columns)
            case (bytes(), int()):
                _note_state(found, row.columns)
    # Those that tell more come last.
    for row in sorted(runs, key=lambda run: len(run.columns)):
        note = _note_run if len(row.columns) == _RUN_COLUMNS else _note_stream
        note(found, (row.rowid, *row.columns[1:]))
    return found


def _note_run(found: Damaged, row: Sequence[Any]) -> None:
    number, stream_id, hash_, boot_id, started_at_ms = row
    is_run = (
        isinstance(number, int)
        and isinstance(stream_id, bytes)
        and isinstance(hash_, bytes)
        and isinstance(boot_id, bytes)
        and isinstance(started_at_ms, int)
        and (len(stream_id), len(hash_)) == (STREAM_ID_BYTES, MANIFEST_HASH_BYTES)
    )
    if is_run:
        found.streams[number] = StoredStream(number, stream_id, hash_, boot_id, started_at_ms)


def _note_stream(found: Damaged, row: Sequence[Any]) -> None:
    """Note a stream; the belief can be learnt anew, and the stream's name is on its copy too."""
    if row[0] not in found.streams:
        _note_run(found, row[:_RUN_COLUMNS])
    stream = found.streams.get(row[0])
    if stream is not None:
        with suppress(*_DAMAGED_CELL):
            following, committed, safe = int(row[5]), parse_ranges(row[6]), parse_ranges(row[7])
            stream.next, stream.committed, stream.safe = following, committed, safe


def _note_manifest(found: Damaged, row: Sequence[Any]) -> None:
    hash_, body = row
    if isinstance(body, bytes) and manifest_hash(body) == hash_:
        found.manifests[hash_] = body


def _note_state(found: Damaged, row: Sequence[Any]) -> None:
    name, value = row
    with suppress(*_DAMAGED_CELL):
        found.states[name.decode()] = max(value, found.states.get(name.decode(), 0))


def _readable(damaged: sqlite3.Connection, sql: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows until one cannot be read."""
    try:
        yield from damaged.execute(sql)
    except sqlite3.Error:
        return


def _surviving_rows(damaged: sqlite3.Connection, select: str, stream: StoredStream) -> Iterator[tuple[Any, ...]]:
    """Yield a stream's rows as the tree has them, stepping over pages that cannot be read."""
    select = f"{select} WHERE position BETWEEN ? AND ? ORDER BY position"
    at: int | None = position_of(stream.number, 0)
    last = position_of(stream.number + 1, 0) - 1
    while at is not None:
        try:
            for row in damaged.execute(select, (at, last)):
                yield row
                at = max(at, row[0] + 1)
        except sqlite3.Error:
            at = _next_readable(damaged, select, at, last)
        else:
            return


def _next_readable(damaged: sqlite3.Connection, select: str, bad: int, last: int) -> int | None:
    """Return the first position above `bad` from which rows can be read; None when there is none."""
    step = 1
    while not _is_readable(damaged, select, bad + step, last):
        if bad + step > last:
            return None
        step *= 2
    low, high = bad + step // 2, bad + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_readable(damaged, select, middle, last) else (middle, high)
    return high


def _is_readable(damaged: sqlite3.Connection, select: str, position: int, last: int) -> bool:
    try:
        damaged.execute(f"{select} LIMIT 1", (position, last)).fetchone()
    except sqlite3.Error:
        return False
    return True

"""A damaged buffer: set aside, and what can be read of it brought into a new file.

Streams keep their ids and scans their numbers, so nothing is delivered twice; numbers between two
readable rows that cannot be read any more become gap records.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import structlog

from edge_agent.buffer import held
from edge_agent.buffer import schema as buffer_schema
from edge_agent.buffer.held import HeldRow
from edge_agent.buffer.store import BufferStore
from edge_agent.buffer.streams import StoredStream
from edge_agent.buffer.survivors import (
    Damaged,
    raw_entries,
    raw_held,
    read_damaged,
    reading,
    surviving_entries,
    surviving_held,
)
from edge_agent.errors import BufferCorrupt
from protocol.ranges import Range, RangeSet
from protocol.scans import Entry, Gap, GapReason, Scan

_ROWS_PER_TRANSACTION = 1000
_SIDECARS = ("-wal", "-shm")

_ROW_BYTES_MIN = 12
"""No row of a scan is smaller."""

log = structlog.get_logger()


def open_or_salvage(path: Path) -> BufferStore:
    """Open the buffer; a damaged one is set aside and salvaged first.

    Raises: sqlite3.Error, OSError, BufferCorrupt; ValueError for a file of a newer release.
    """
    salvaged = _salvaged_path(path)
    if path.exists():
        _remove(salvaged)  # what a salvage left that the power ended
    elif salvaged.exists():
        # The power went while the two files changed places, and by then the new one was complete.
        _put_in_place(salvaged, path)
    try:
        return _open(path)
    except sqlite3.Error as error:
        if not buffer_schema.is_damage_at_start(error):
            raise
        return salvage(path, cause=str(error))


def salvage(path: Path, *, cause: str, known: Sequence[StoredStream] = ()) -> BufferStore:
    """Bring the readable rows of a damaged file into a new one, and set the damaged one aside.

    `known` are the streams as a running agent has them in memory; they win over what the file says.
    Raises: sqlite3.Error and OSError when the disk does not take the new file, BufferCorrupt when that is damaged too.
    """
    salvaged = _salvaged_path(path)
    if path.exists():
        _remove(salvaged)
        try:
            rows, unreadable = _copy(path, salvaged, known)
        except sqlite3.Error as error:
            if not buffer_schema.is_damage(error):
                raise
            raise BufferCorrupt(f"a new buffer {salvaged} is damaged at once ({error}): replace its disk") from error
        aside = _free_name(path)
        # The file goes before its log: without that it would open as an older one.
        path.rename(aside)
        log.error(
            "buffer_salvaged",
            path=str(path),
            set_aside=str(aside),
            cause=cause,
            rows=rows,
            unreadable_numbers=unreadable,
        )
    _put_in_place(salvaged, path)
    return _open(path)


def _open(path: Path) -> BufferStore:
    connection = buffer_schema.connect(path)
    try:
        return BufferStore(connection, path)
    except (TypeError, ValueError) as error:
        connection.close()
        raise buffer_schema.FileDamaged(f"it holds what was never written to it: {error}") from error
    except BaseException:
        connection.close()
        raise


def _salvaged_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvaged")


def _remove(path: Path) -> None:
    for suffix in ("", *_SIDECARS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _put_in_place(salvaged: Path, path: Path) -> None:
    """Give the new file the name that the damaged one had; done again from the start when it was cut short."""
    buffer_schema.sync_directory(path.parent)
    for suffix in _SIDECARS:
        # What it held is in the new file, which must not take it for its own.
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    buffer_schema.sync_directory(path.parent)
    salvaged.rename(path)
    buffer_schema.sync_directory(path.parent)


def _copy(path: Path, salvaged: Path, known: Sequence[StoredStream]) -> tuple[int, int]:
    """Copy what is readable; return how many rows came and how many numbers did not."""
    store = _open(salvaged)
    with closing(store.connection):
        with reading(path) as damaged:
            _copy_streams(read_damaged(path, damaged, known), store)
            copies = {stream.number: _Copy(stream, _highest(path, stream, known)) for stream in store.streams.values()}
            for copy in copies.values():
                _copy_entries(surviving_entries(damaged, copy.stream, copy.highest), copy, store)
                _copy_held(surviving_held(damaged, copy.stream, copy.highest), copy, store)
        _copy_raw_entries(path, copies, store)
        _copy_raw_held(path, copies, store)
        unreadable = sum(_fill_with_gaps(copy, store) for copy in copies.values())
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return sum(copy.rows for copy in copies.values()), unreadable


@dataclass(slots=True)
class _Copy:
    """A stream on its way into the new file."""

    stream: StoredStream
    highest: int
    """The highest number that can be true."""
    found: list[Range] = field(default_factory=list)
    rows: int = 0

    @property
    def missing(self) -> RangeSet:
        """What the hub may not have and the new file has not yet."""
        return RangeSet([(1, self.highest)] if self.highest else []) - self.stream.committed - RangeSet(self.found)

    def note(self, entries: Sequence[Entry]) -> None:
        """Note that entries are in the new file."""
        self.rows += len(entries)
        for entry in entries:
            if self.found and self.found[-1].last + 1 == entry.sequence:
                self.found[-1] = Range(self.found[-1].first, entry.last_sequence)
            else:
                self.found.append(Range(entry.sequence, entry.last_sequence))


def _highest(path: Path, stream: StoredStream, known: Sequence[StoredStream]) -> int:
    """Return the highest number of a stream that can be true: damage makes any number of a key."""
    if any(stream is one for one in known):
        # What lies beyond was refused by the disk in the end, and is stored again by whoever waits for it.
        return stream.next - 1
    return stream.next - 1 + path.stat().st_size // _ROW_BYTES_MIN


def _copy_streams(damaged: Damaged, store: BufferStore) -> None:
    with store.transaction():
        for manifest_hash, body in damaged.manifests.items():
            store.put_manifest(manifest_hash, body)
        for number in sorted(damaged.streams):
            store.put_stream(damaged.streams[number])
        for name, value in damaged.states.items():
            store.put_state(name, value)


def _copy_entries(entries: Iterator[Entry], copy: _Copy, store: BufferStore) -> None:
    while chunk := list(islice(entries, _ROWS_PER_TRANSACTION)):
        with store.transaction():
            for entry in chunk:
                store.insert(copy.stream, entry)
        copy.note(chunk)


def _copy_held(rows: Iterator[tuple[HeldRow, Entry]], copy: _Copy, store: BufferStore) -> None:
    there = RangeSet(copy.found)
    waiting = ((row, entry) for row, entry in rows if entry.sequence not in there)
    while chunk := list(islice(waiting, _ROWS_PER_TRANSACTION)):
        with store.transaction():
            held.insert(store.connection, [row for row, _ in chunk])
        copy.note([entry for _, entry in chunk])


def _copy_raw_entries(path: Path, copies: Mapping[int, _Copy], store: BufferStore) -> None:
    """Copy from pages that no tree leads to what is missing. A gap record there may be older than scans are."""
    missing = {number: copy.missing for number, copy in copies.items()}
    raw = (
        (copies[number], entry)
        for number, entry in raw_entries(path)
        if number in copies and isinstance(entry.content, Scan) and entry.sequence in missing[number]
    )
    while chunk := list(islice(raw, _ROWS_PER_TRANSACTION)):
        with store.transaction():
            for copy, entry in chunk:
                # A page that was given back may hold the same row once more.
                with suppress(sqlite3.IntegrityError):
                    store.insert(copy.stream, entry)
                    copy.note([entry])


def _copy_raw_held(path: Path, copies: Mapping[int, _Copy], store: BufferStore) -> None:
    """Copy likewise what waits for the clock."""
    missing = {number: copy.missing for number, copy in copies.items()}
    raw = (
        (copies[number], row, entry)
        for number, row, entry in raw_held(path)
        if number in copies and isinstance(entry.content, Scan) and entry.sequence in missing[number]
    )
    while chunk := list(islice(raw, _ROWS_PER_TRANSACTION)):
        with store.transaction():
            for copy, row, entry in chunk:
                with suppress(sqlite3.IntegrityError):
                    held.insert(store.connection, [row])
                    copy.note([entry])


def _fill_with_gaps(copy: _Copy, store: BufferStore) -> int:
    """Put gap records where outstanding entries are not readable; return how many numbers that is."""
    stream = copy.stream
    found = RangeSet(copy.found)
    if found:
        stream.next = max(stream.next, found.ranges[-1].last + 1)
    unreadable = stream.outstanding - found
    with store.transaction():
        for span in unreadable:
            store.insert(stream, Entry(span.first, Gap(span.size, GapReason.UNREADABLE, 0, 0)))
    store.refresh(stream)
    return unreadable.size
